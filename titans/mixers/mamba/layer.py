"""The layer of Mamba (Gu and Dao, arXiv 2312.00752)."""

from __future__ import annotations

from functools import partial
from math import log10
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.mamba import mamba_sizes
from titans.mixers.mixer import Mixer
from titans.mixers.parts import STEP_RANGE, CausalConvolution, Linear, inverse_softplus
from titans.mixers.recurrence import Operator
from titans.models.config import ModelConfig
from titans.ops import naive_selective_scan, selective_scan


class MambaStream(NamedTuple):
    """The state of a Mamba layer between two tokens.

    Attributes:
        state: `[batch, inner, state]`.
        tail: Tail of the convolution `[batch, conv_size - 1, inner]`. None at the start and without convolution.
    """

    state: Tensor
    tail: Tensor | None


class Mamba(Mixer):
    """A selective state space between a short convolution and a gate.

    The published model has no feed-forward layers; this library's block adds one. Initial rates are -1, -2, ...
    The logarithms of the channels' initial step sizes are spaced evenly over `STEP_RANGE`; the authors draw them.

    Attributes:
        writes: Whether tokens write to the state: see `titans.mixers.mixer.HasWrites`.
    """

    writes = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        inner, self.size, self.rank = mamba_sizes(config)
        self.operator: Operator = partial(selective_scan, chunk_size=config.recurrent.chunk_size)
        self.inputs = Linear(config.dim, 2 * inner, bias=False)
        self.convolution = CausalConvolution(inner, config.conv_size, bias=True) if config.conv_size > 1 else None
        self.select = Linear(inner, self.rank + 2 * self.size, bias=False)
        self.step = Linear(self.rank, inner)
        self.step.init_std = {"weight": (3 * self.rank) ** -0.5}  # type: ignore[assignment]
        shortest, longest = map(log10, STEP_RANGE)
        self.step.bias = nn.Parameter(inverse_softplus(torch.logspace(shortest, longest, inner)))
        self.init_std = {"log_rates": 0.0}
        self.log_rates = nn.Parameter(torch.zeros(inner, self.size))  # logarithms of the rates divided by -1, -2, ...
        self.skip = nn.Parameter(torch.ones(inner))
        self.out = Linear(inner, config.dim, bias=False)

    def start(self, batch: int) -> MambaStream:
        """Return the state of `batch` sequences before their first token."""
        return MambaStream(self.log_rates.new_zeros(batch, *self.log_rates.shape), None)

    def forward(self, x: Tensor, stream: MambaStream) -> tuple[Tensor, MambaStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        x, gate = self.inputs(x).chunk(2, -1)
        tail = stream.tail
        if self.convolution is not None:
            x, tail = self.convolution(x, tail)
        x, dtype = F.silu(x), stream.state.dtype
        selected = self.select(x).to(dtype)
        with torch.autocast(x.device.type, enabled=False):  # the state is a sum of thousands of small writes
            x = x.to(dtype)
            step, b, c = selected.split([self.rank, self.size, self.size], -1)
            rates = -torch.exp(self.log_rates) * torch.arange(1, self.size + 1, device=x.device)
            y, state = self.operator(x, F.softplus(self.step(step)), rates, b, c, stream.state)
            if not self.writes:
                y, state = torch.zeros_like(y), stream.state  # a state of zeros is read
            y = y + self.skip * x
        return self.out(y * F.silu(gate)), MambaStream(state, tail)


def scan_token_by_token(mixer: Mamba) -> None:
    """Make a mixer compute with the reference implementation of the scan."""
    mixer.operator = naive_selective_scan
