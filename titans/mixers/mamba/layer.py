"""Mamba (arXiv 2312.00752): a selective state space between a short convolution and a gate."""

from __future__ import annotations

from functools import partial
from math import log10
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.mamba import mamba_sizes
from titans.mixers.mixer import Mixer
from titans.mixers.parts import STEP_RANGE, CausalConvolution, inverse_softplus
from titans.mixers.recurrence import Operator
from titans.models.config import ModelConfig
from titans.ops import naive_selective_scan, selective_scan


class MambaStream(NamedTuple):
    """The states of the channels `[batch, inner, state]`, and what the convolution still needs of the past."""

    state: Tensor
    tail: Tensor | None


class Mamba(Mixer):
    """As published, expansion 2 and 16 numbers of state a channel, in this library's block beside a feed-forward layer.

    At the start the rates are -1, -2, ... and the step sizes of the channels lie in `STEP_RANGE`, evenly by their
    logarithm where the authors draw them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        inner, self.size, self.rank = mamba_sizes(config)
        self.operator: Operator = partial(selective_scan, chunk_size=config.recurrent.chunk_size)
        self.inputs = nn.Linear(config.dim, 2 * inner, bias=False)
        self.convolution = CausalConvolution(inner, config.conv_size, bias=True) if config.conv_size > 1 else None
        self.select = nn.Linear(inner, self.rank + 2 * self.size, bias=False)
        self.step = nn.Linear(self.rank, inner)
        self.step.init_std = {"weight": (3 * self.rank) ** -0.5}  # type: ignore[assignment]
        shortest, longest = map(log10, STEP_RANGE)
        self.step.bias = nn.Parameter(inverse_softplus(torch.logspace(shortest, longest, inner)))
        self.init_std = {"log_rates": 0.0}
        self.log_rates = nn.Parameter(torch.zeros(inner, self.size))  # of what the rates are over -1, -2, ...
        self.skip = nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, config.dim, bias=False)

    def start(self, batch: int) -> MambaStream:
        """Before the first token."""
        return MambaStream(self.log_rates.new_zeros(batch, *self.log_rates.shape), None)

    def forward(self, x: Tensor, stream: MambaStream) -> tuple[Tensor, MambaStream]:
        """The next tokens `[batch, time, dim]`."""
        x, gate = self.inputs(x).chunk(2, -1)
        tail = stream.tail
        if self.convolution is not None:
            x, tail = self.convolution(x, tail)
        y, state = self._scan(F.silu(x), stream.state)
        return self.out(y * F.silu(gate)), MambaStream(state, tail)

    def _scan(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """In the parameters' precision under autocast too: the state sums thousands of small writes."""
        selected = self.select(x).to(state.dtype)
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(state.dtype)
            step, b, c = selected.split([self.rank, self.size, self.size], -1)
            rates = -torch.exp(self.log_rates) * torch.arange(1, self.size + 1, device=x.device)
            y, state = self.operator(x, F.softplus(self.step(step)), rates, b, c, state)
            return y + self.skip * x, state


def scan_token_by_token(mixer: Mamba) -> None:
    """Make a mixer compute with the reference implementation of the scan."""
    mixer.operator = naive_selective_scan
