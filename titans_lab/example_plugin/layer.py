"""The layer of the mixer; only workers import this file."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.mixer import Mixer
from titans.models.config import ModelConfig

from . import Settings


class Average(NamedTuple):
    """The state between two tokens: the average so far, `[batch, dim]`."""

    value: Tensor


def average(x: Tensor, decay: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Return y_t = decay y_{t-1} + (1 - decay) x_t for all tokens of a chunk at once, and the last y.

    Args:
        x: The chunk, `[batch, time, dim]`.
        decay: The decay of each channel, `[dim]`, between 0 and 1.
        before: y before the chunk, `[batch, dim]`.
    """
    age = torch.arange(x.shape[1], device=x.device)
    weights = decay ** (age[:, None] - age).clamp(min=0).unsqueeze(-1)  # [time, time, dim]
    weights = weights * (age[:, None] >= age).unsqueeze(-1)
    y = torch.einsum("tid,bid->btd", weights, (1 - decay) * x)
    y = y + decay ** (age + 1).unsqueeze(-1) * before.unsqueeze(1)
    return y, y[:, -1]


def recurrence(x: Tensor, decay: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same as `average`, token by token: the reference implementation."""
    outputs = []
    for token in x.unbind(1):
        before = decay * before + (1 - decay) * token
        outputs.append(before)
    return torch.stack(outputs, 1), before


class MovingAverage(Mixer):
    """Average the values over time, and let the token gate what comes out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        settings = config.settings_of(Settings)
        self.chunk_size, self.operator = settings.chunk_size, average
        self.value, self.gate, self.out = (nn.Linear(config.dim, config.dim, bias=False) for _ in range(3))
        self.decay = nn.Parameter(torch.full((config.dim,), math.log(settings.horizon - 1)))  # as a logit

    def start(self, batch: int) -> Average:
        """Return the state of `batch` sequences before their first token."""
        return Average(self.decay.new_zeros(batch, len(self.decay)))

    def forward(self, x: Tensor, state: Average) -> tuple[Tensor, Average]:
        """Read the next tokens `[batch, time, dim]`; return the output, shaped like x, and the state after them."""
        decay, before = torch.sigmoid(self.decay).to(x.dtype), state.value.to(x.dtype)
        outputs = []
        for chunk in self.value(x).split(self.chunk_size, 1):
            y, before = self.operator(chunk, decay, before)
            outputs.append(y)
        return self.out(F.silu(self.gate(x)) * torch.cat(outputs, 1)), Average(before)


def average_token_by_token(layer: nn.Module) -> None:
    """Make a built layer compute in its reference form."""
    assert isinstance(layer, MovingAverage)
    layer.operator = recurrence
