"""Language modelling on bytes: windows of a text, and the loss in bits per byte."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_lab.corpus import Corpus, load_corpus
from titans_lab.errors import UserError
from titans_lab.study.config import RunConfig
from titans_lab.study.tasks.text import BITS_PER_BYTE, TextSettings
from titans_lab.tasks.task import Batch, Score, Task, judging, random_of

BITS = 1 / math.log(2)


class TextTask(Task):
    """Training batches and validation over a corpus.

    A batch is a function of (data, seed, step, length, batch) alone, so that runs which share these are paired: they
    see the same bytes in the same order, whatever their model. UserError where the text is shorter than a window.
    """

    def __init__(self, corpus: Corpus, seed: int, length: int, batch: int) -> None:
        if len(corpus.train) <= length:
            raise UserError(
                f"train.length: {length} and one more to predict are more than the {len(corpus.train)} bytes that "
                f"{corpus.source} has to train on; lower train.length or give a longer text"
            )
        super().__init__(TextSettings(), corpus.digest, corpus.source)
        self.corpus, self.seed, self.length, self.batch = corpus, seed, length, batch

    @classmethod
    def build(cls, config: RunConfig, seed: int) -> TextTask:
        """Read the section `data`."""
        return cls(load_corpus(config.data), seed, config.train.length, config.train.batch)

    def sample(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets `[batch, length]` of a step: windows at random places of the training part."""
        last = len(self.corpus.train) - self.length
        starts = random_of(self.digest, self.seed, step, self.length, self.batch).integers(0, last, self.batch)
        return _pair(np.stack([self.corpus.train[i : i + self.length + 1] for i in starts]))

    def validation(self, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """The validation part, or its first `limit` bytes, once: windows of `length`, then the shorter rest."""
        part = self.corpus.valid[:limit]
        windows = (len(part) - 1) // self.length
        whole = np.lib.stride_tricks.sliding_window_view(part, self.length + 1)[:: self.length] if windows else part[:0]
        for begin in range(0, windows, self.batch):
            yield _pair(whole[begin : begin + self.batch])
        if len(rest := part[windows * self.length :]) > 1:
            yield _pair(rest[None])

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Bits, summed over the bytes of each window."""
        inputs, targets = batch
        bits = F.cross_entropy(model(inputs).flatten(0, 1).float(), targets.flatten(), reduction="none") * BITS
        return bits.view_as(targets).sum(1)

    def terms(self, batch: Batch) -> int:
        """Bytes to predict."""
        return batch[1].numel()

    def evaluate(self, model: nn.Module, device: torch.device, limit: int | None = None) -> list[Score]:
        """Bits per byte over the validation part; the split is called "valid"."""
        predicted = len(self.corpus.valid[:limit]) - 1
        return [Score(BITS_PER_BYTE, evaluate(model, self, device, limit), predicted, split="valid")]

    def inputs(self, tokens: int) -> Tensor:
        """The first windows of the validation part."""
        return next(self.validation(tokens + 1))[0]


def _pair(tokens: np.ndarray) -> tuple[Tensor, Tensor]:
    windows = torch.from_numpy(tokens.astype(np.int64))
    return windows[:, :-1], windows[:, 1:]


def bits_per_byte(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of the next byte, in bits."""
    return F.cross_entropy(model(inputs).flatten(0, 1).float(), targets.flatten()) * BITS


def evaluate(model: nn.Module, task: TextTask, device: torch.device, limit: int | None = None) -> float:
    """Bits per byte over the validation part, or its first `limit` bytes; each window starts without context."""
    total, count = torch.zeros((), dtype=torch.float64, device=device), 0
    with judging(model):
        for inputs, targets in task.validation(limit):
            total += bits_per_byte(model, inputs.to(device), targets.to(device)).double() * targets.numel()
            count += targets.numel()
    return float(total / count)
