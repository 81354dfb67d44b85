"""What recurrent mixers with a matrix for a state share: the way in, the recurrence, the way out, and the stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.mixer import Mixer
from titans.mixers.parts import STEP_RANGE, Projection, RMSNorm, inverse_softplus, merge_heads, split_heads
from titans.mixers.recurrence_cost import Sizes
from titans.models.config import ModelConfig
from titans.ops import (
    gated_linear_attention,
    naive_gated_delta_rule,
    naive_gated_linear_attention,
)
from titans.ops.fla import Kernel

Operator: TypeAlias = Callable[..., tuple[Tensor, Tensor]]

EPSILON = 1e-5  # of the norms of what is read


class MatrixStream(NamedTuple):
    """What a recurrence carries from token to token.

    Attributes:
        state: `[batch, heads, d_k, d_v]`.
        tails: Of the short convolutions, in the mixer's order; None before the first token, or where there is none.
        position: Of the next token, where the mixer counts them.
    """

    state: Tensor
    tails: tuple[Tensor | None, ...]
    position: int = 0


class QueryKeyValue(nn.Module):
    """q, k and v of a mixer, each in heads."""

    def __init__(self, sizes: Sizes, *, silu: bool, unit: bool) -> None:
        super().__init__()
        form = (sizes.heads, sizes.conv_size, silu)
        self.q, self.k = (Projection(sizes.dim, sizes.keys, *form, unit=unit) for _ in range(2))
        self.v = Projection(sizes.dim, sizes.values, *form, unit=False)
        self.state_shape = (sizes.heads, sizes.d_k, sizes.d_v)

    def start(self, batch: int, extra_values: int = 0) -> MatrixStream:
        """Zeros, and no tails yet."""
        heads, d_k, d_v = self.state_shape
        state = self.q.linear.weight.new_zeros(batch, heads, d_k, d_v + extra_values)
        return MatrixStream(state, (None, None, None))

    def forward(
        self, x: Tensor, tails: tuple[Tensor | None, ...]
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor | None, ...]]:
        """q and k `[batch, heads, time, d_k]`, v `[batch, heads, time, d_v]`, and the new tails."""
        found = [project(x, tail) for project, tail in zip((self.q, self.k, self.v), tails, strict=True)]
        (q, q_tail), (k, k_tail), (v, v_tail) = found
        return q, k, v, (q_tail, k_tail, v_tail)


class Readout(nn.Module):
    """RMSNorm of each head, a SiLU gate from the token if there is one, output projection.

    The norm sees what queries over the square root of their width read: its epsilon, as published, is no rounding but
    keeps what is hardly read from being blown up.
    """

    def __init__(self, sizes: Sizes, *, gated: bool) -> None:
        super().__init__()
        self.heads, self.scale = sizes.heads, sizes.d_k**-0.5
        self.norm = RMSNorm(sizes.d_v, EPSILON)
        self.gate = nn.Linear(sizes.dim, sizes.values, bias=False) if gated else None
        self.out = nn.Linear(sizes.values, sizes.dim, bias=False)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """What was read `[batch, heads, time, d_v]`, and the tokens `[batch, time, dim]`; shaped like these."""
        y = self.norm(self.scale * y)
        if self.gate is not None:
            y = y * F.silu(split_heads(self.gate(x), self.heads))
        return self.out(merge_heads(y))


class MatrixMixer(Mixer):
    """A mixer over an operator whose state is a matrix for each head.

    Args:
        config: What to build.
        operator: `gated_linear_attention` or `gated_delta_rule`.

    Attributes:
        kernel: What computes the operator: see `titans.ops.fla`.
    """

    kernel: Kernel = "auto"

    def __init__(self, config: ModelConfig, operator: Operator) -> None:
        super().__init__()
        self.operator, self.chunk_size = operator, config.recurrent.chunk_size

    def use_kernel(self, kernel: str) -> None:
        """Compute with the kernels of flash-linear-attention ("fla") or, for any other name, with torch."""
        self.kernel = "fla" if kernel == "fla" else "torch"

    def recur(self, state: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
        """Return the operator's outputs `[batch, heads, time, d_v]` and end state `[batch, heads, d_k, d_v]`.

        A state sums all that is written, so it is computed in its own precision, under autocast too.
        """
        with torch.autocast(state.device.type, enabled=False):
            exact = (x.to(state.dtype) for x in given)
            return self.operator(*exact, state=state, chunk_size=self.chunk_size, kernel=self.kernel)


def recur_token_by_token(mixer: MatrixMixer) -> None:
    """Make a mixer compute with the reference implementation of its operator."""
    naive: Operator = naive_gated_delta_rule
    if mixer.operator is gated_linear_attention:
        naive = naive_gated_linear_attention
    mixer.operator = lambda *given, state, **_: naive(*given, state=state)


class Decay(nn.Module):
    """Mamba-2's decay of a head, exp(-A dt) with dt = softplus(x W + bias): also Gated DeltaNet's.

    At the start A and dt of the heads are the quantiles of the distributions that they were published with, A of a
    uniform one and dt of a log-uniform one: so a model depends on its seed by its matrices alone. They grow together,
    which gives the heads the widest range of time scales.
    """

    def __init__(self, heads: int, lowest: float) -> None:
        super().__init__()
        place = (torch.arange(heads, dtype=torch.float64) + 0.5) / heads
        shortest, longest = STEP_RANGE
        step = shortest * (longest / shortest) ** place
        self.log_rate = nn.Parameter((lowest + (16 - lowest) * place).log().float())
        self.step_bias = nn.Parameter(inverse_softplus(step).float())

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[batch, time, heads]` of dt; dt and the log-decay, each `[batch, heads, time]`."""
        step = F.softplus((logits + self.step_bias).mT)
        return step, -self.log_rate.exp().unsqueeze(-1) * step
