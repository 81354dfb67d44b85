"""Load the trained model of a run, which `titans_lab.training.weights` wrote at the end of its training."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from titans.models.generation import generate
from titans.models.inspection import MemoryDiagnostics, inspect
from titans.models.language_model import LanguageModel
from titans_lab.data.tokenizer import Tokenizer
from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.run.run import config_of
from titans_lab.store.store import Store
from titans_lab.store.weights import find_run
from titans_lab.tasks.task import Task, task_class
from titans_lab.training.precision import products_in
from titans_lab.training.weights import load_tensors


@dataclass(frozen=True)
class Trained:
    """A finished run with its model.

    Attributes:
        run_id: The id of the run.
        model: The trained model, in evaluation mode.
        config: The configuration of the run.
        seed: The seed of the initial parameters and of the batches.
        data_hash: The SHA-256 of the training text.
    """

    run_id: str
    model: LanguageModel
    config: RunConfig
    seed: int
    data_hash: str

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer.

        Raise UserError where the run's tokens are no text, or its tokenizer is gone or has changed.
        """
        return self.config.task.settings.tokenizer(self.config.model, self.config.data, self.data_hash)

    def generate(self, prompt: str, tokens: int = 128, temperature: float = 0.8, seed: int = 0) -> str:
        """Return a continuation of a prompt.

        Args:
            prompt: The text to continue.
            tokens: The number of tokens to draw.
            temperature: The divisor of the logits; 0 takes the most likely token.
            seed: The seed of the draws.

        Raises:
            UserError: The run reads no text, or the prompt is empty.
        """
        asked = self._tokens(prompt, "prompt: is empty; give the text to continue")
        draws = torch.Generator(asked.device).manual_seed(seed)
        with products_in(self.config.train.precision, asked.device):
            drawn = generate(self.model, asked, tokens, temperature, draws)[0].tolist()
        pieces = len(self.tokenizer.pieces)
        return self.tokenizer.decode(token for token in drawn if token < pieces).decode(errors="replace")

    def inspect(self, text: str) -> dict[int, MemoryDiagnostics]:
        """Return the diagnostics of each memory, by the number of its block, while the model reads a text.

        Raises:
            UserError: The run reads no text, or the text is empty.
        """
        return inspect(self.model, self._tokens(text, "text: is empty; give the text to read"))

    def _tokens(self, text: str, empty: str) -> torch.Tensor:
        """Return the tokens `[1, time]` of a text on the model's device. Raise UserError where there are none."""
        tokens = self.tokenizer.encode(text)
        if not tokens:
            raise UserError(empty)
        return torch.tensor([tokens], device=self.model.head.weight.device)


def load_run(store: Store, prefix: str, device: torch.device | str = "cpu") -> Trained:
    """Return the run whose id begins with `prefix`, with its model on `device`.

    Raises:
        UserError: There is no such run, or several, or it is not done, or is not a language model, or its weights were
            not kept, are damaged, or belong to another version of the model.
    """
    folder = find_run(store, prefix)
    tensors, record = load_tensors(folder), folder.record()
    config = config_of(record)
    if task_class(config.task.settings).model is not Task.model:
        raise UserError(f"run {folder.run_id}: is not a language model: its task is {config.task.name}; name another")
    model = LanguageModel(config.model, record["seed"])
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:  # names or shapes are not those of the configuration
        first = (str(error).splitlines() or [""])[0]
        raise UserError(f"run {folder.run_id}: its weights do not load ({first}); sweep its study again") from error
    return Trained(folder.run_id, model.to(device).eval(), config, record["seed"], record["data_hash"])
