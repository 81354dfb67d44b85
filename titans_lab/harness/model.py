"""A trained model as lm-eval wants one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.model import LM

from titans.models.language_model import LanguageModel
from titans_lab.data.tokenizer import Tokenizer
from titans_lab.harness.scoring import Question, answer, go_on, question
from titans_lab.training.precision import products_in

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

BATCH = 16
MOST_TOKENS = 256  # of a continuation, where a task does not say


class HarnessModel(LM):
    """Of lm-eval's three requests; greedy, and with contexts of any length.

    Args:
        model: In evaluation mode, on `device`.
        tokenizer: That it was trained with.
        device: Where to compute.
        precision: As in `train.precision`.
        batch: Requests at once.
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
        """Of a continuation after a context, and whether it is the greedy one."""
        return self._answer([question(self.tokenizer, *request.args) for request in requests])

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Of a whole text after the end of another; each token has all of the text before it as context."""
        questions = [question(self.tokenizer, "", request.args[0]) for request in requests]
        return [log_likelihood for log_likelihood, _ in self._answer(questions)]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """A continuation before the first of the task's stops."""
        return [self._go_on(*request.args) for request in requests]

    def _answer(self, questions: Sequence[Question]) -> list[tuple[float, bool]]:
        with products_in(self.precision, self._device):
            return list[tuple[float, bool]](answer(self.model, questions, self.batch, self._device))

    def _go_on(self, context: str, options: dict[str, Any]) -> str:
        stops = options.get("until") or []
        stops = [stops] if isinstance(stops, str) else stops
        most = options.get("max_gen_toks", MOST_TOKENS)
        with products_in(self.precision, self._device):
            return go_on(self.model, self.tokenizer, context, stops, most, self._device)
