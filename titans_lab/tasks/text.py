"""Language modelling on bytes: windows of a text, and the loss in bits per byte."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_lab.corpus import Corpus
from titans_lab.errors import UserError

BITS = 1 / math.log(2)


class TextTask:
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
        self.corpus, self.seed, self.length, self.batch = corpus, seed, length, batch

    def sample(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets `[batch, length]` of a step: windows at random places of the training part."""
        last = len(self.corpus.train) - self.length
        key = f"{self.corpus.digest}:{self.seed}:{step}:{self.length}:{self.batch}"
        generator = np.random.Generator(np.random.PCG64(int(hashlib.sha256(key.encode()).hexdigest(), 16)))
        starts = generator.integers(0, last, self.batch)
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


def _pair(tokens: np.ndarray) -> tuple[Tensor, Tensor]:
    windows = torch.from_numpy(tokens.astype(np.int64))
    return windows[:, :-1], windows[:, 1:]


def bits_per_byte(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of the next byte, in bits."""
    return F.cross_entropy(model(inputs).flatten(0, 1).float(), targets.flatten()) * BITS


@torch.no_grad()
def evaluate(model: nn.Module, task: TextTask, device: torch.device, limit: int | None = None) -> float:
    """Bits per byte over the validation part, or its first `limit` bytes; each window starts without context."""
    model.eval()
    total, count = torch.zeros((), dtype=torch.float64, device=device), 0
    for inputs, targets in task.validation(limit):
        total += bits_per_byte(model, inputs.to(device), targets.to(device)).double() * targets.numel()
        count += targets.numel()
    model.train()
    return float(total / count)
