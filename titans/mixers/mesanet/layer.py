"""The layer of MesaNet (arXiv 2506.05233)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.mesanet import FIRST_RIDGE, PUBLISHED, SMALLEST_RIDGE, MesaNetConfig
from titans.mixers.parts import Linear, Projection, RMSNorm, biased_linear, inverse_softplus, merge_heads
from titans.mixers.recurrence import EPSILON, MatrixMixer, MatrixStream, Operator, projected
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import mesa, naive_mesa


class MesaNet(MatrixMixer):
    """Queries and keys pass a convolution and a SiLU and have length 1. Values pass neither.

    The ridge is a parameter of each channel of the keys. Beta and decay are sigmoids of the token, for each head.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, mesa)
        widths = sizes(config, PUBLISHED)
        self.heads, self.d_k, self.d_v = widths.heads, widths.d_k, widths.d_v
        self.iterations = config.settings_of(MesaNetConfig).iterations
        form = (widths.heads, widths.conv_size, True)
        self.q, self.k = (Projection(widths.dim, widths.keys, *form, unit=True) for _ in range(2))
        self.v = Projection(widths.dim, widths.values, widths.heads, 1, silu=False, unit=False)
        self.beta, self.decay = (biased_linear(widths.dim, widths.heads) for _ in range(2))
        first = inverse_softplus(torch.tensor(FIRST_RIDGE - SMALLEST_RIDGE))
        self.ridge = nn.Parameter(first.repeat(widths.keys))
        self.norm = RMSNorm(widths.d_v, EPSILON)
        self.out = Linear(widths.values, widths.dim, bias=False)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        state = self.out.weight.new_zeros(batch, self.heads, self.d_k, self.d_k + self.d_v)
        return MatrixStream(state, (None, None, None))

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        (q, k, v), tails = projected((self.q, self.k, self.v), x, stream.tails)
        beta = torch.sigmoid(self.beta(x).mT)
        log_decay = F.logsigmoid(self.decay(x).mT.to(stream.state.dtype))
        ridge = SMALLEST_RIDGE + F.softplus(self.ridge).view(self.heads, self.d_k)
        y, state = self.recur(stream.state, q, k, v, beta, ridge, log_decay, iterations=self.iterations)
        return self.out(merge_heads(self.norm(y))), MatrixStream(state, tails)


def solve_exactly(mixer: MesaNet) -> None:
    """Make a mixer compute token by token, with an exact solution of each system."""
    exact: Operator = naive_mesa
    mixer.operator = lambda *given, state, **_: exact(*given, state=state)
