"""A trained model with lm-eval's interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.model import LM

from titans.models.language_model import LanguageModel
from titans_lab.data.tokenizer import Tokenizer
from titans_lab.harness.scoring import Continuation, answer, go_on, question
from titans_lab.training.precision import products_in

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

BATCH = 16
MOST_TOKENS = 256  # tokens of a continuation where a task sets no limit


class HarnessModel(LM):
    """Answers lm-eval's three requests, with greedy generation and contexts of any length.

    Args:
        model: The model, in evaluation mode and on `device`.
        tokenizer: The tokenizer that the model was trained with.
        device: The device to compute on.
        precision: The precision, as in `train.precision`.
        batch: The requests in a batch.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        device: torch.device,
        precision: str = "float32",
        batch: int = BATCH,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.precision, self.batch = model, tokenizer, precision, batch
        self._device = device

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Return the log-likelihood of each continuation after its context, and whether greedy generation gives it."""
        return self._answer([question(self.tokenizer, *request.args) for request in requests])

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Return the log-likelihood of each whole text. Every token has all of the text before it as context."""
        questions = [question(self.tokenizer, "", request.args[0]) for request in requests]
        return [log_likelihood for log_likelihood, _ in self._answer(questions)]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Return a continuation of each context up to the first of the task's stop sequences."""
        return [self._go_on(*request.args) for request in requests]

    def _answer(self, questions: Sequence[Continuation]) -> list[tuple[float, bool]]:
        with products_in(self.precision, self._device):
            return list[tuple[float, bool]](answer(self.model, questions, self.batch, self._device))

    def _go_on(self, context: str, options: dict[str, Any]) -> str:
        stops = options.get("until") or []
        stops = [stops] if isinstance(stops, str) else stops
        most = options.get("max_gen_toks", MOST_TOKENS)
        with products_in(self.precision, self._device):
            return go_on(self.model, self.tokenizer, context, stops, most, self._device)
