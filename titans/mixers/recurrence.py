"""Modules of mixers whose state is a matrix for each head: inputs, recurrence, decay and readout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.mixer import Mixer
from titans.mixers.parts import (
    STEP_RANGE,
    Linear,
    Projection,
    RMSNorm,
    inverse_softplus,
    merge_heads,
    split_heads,
    through,
)
from titans.mixers.recurrence_cost import Sizes
from titans.models.config import ModelConfig
from titans.ops import (
    comba,
    gated_delta_product,
    gated_delta_rule,
    gated_delta_rule_2,
    gated_linear_attention,
    kda,
    log_linear_attention,
    momentum_delta_rule,
    naive_comba,
    naive_gated_delta_product,
    naive_gated_delta_rule,
    naive_gated_delta_rule_2,
    naive_gated_linear_attention,
    naive_kda,
    naive_log_linear_attention,
    naive_momentum_delta_rule,
    naive_rwkv7,
    rwkv7,
)
from titans.ops.fla import KernelName

Operator: TypeAlias = Callable[..., tuple[Tensor, Tensor]]  # returns outputs and the end state

EPSILON = 1e-5  # epsilon of the norms after the recurrence, as published
FASTEST = 16.0  # upper end of the uniform distribution of A, the rate of a decay


class MatrixStream(NamedTuple):
    """The state of a recurrence between two tokens.

    Attributes:
        state: `[batch, heads, d_k, d_v]`.
        tails: Tails of the short convolutions, in the mixer's order. None at the start and without convolution.
        position: Position of the next token, in mixers with rotary positions.
    """

    state: Tensor
    tails: tuple[Tensor | None, ...]
    position: int = 0


class QueryKeyValue(nn.Module):
    """The projections of a mixer to queries, keys and values.

    Args:
        sizes: Widths.
        silu: Whether all three pass a SiLU.
        unit: Whether queries and keys are divided by their length.
    """

    def __init__(self, sizes: Sizes, *, silu: bool, unit: bool) -> None:
        super().__init__()
        form = (sizes.heads, sizes.conv_size, silu)
        self.q, self.k = (Projection(sizes.dim, sizes.keys, *form, unit=unit) for _ in range(2))
        self.v = Projection(sizes.dim, sizes.values, *form, unit=False)
        self.state_shape = (sizes.heads, sizes.d_k, sizes.d_v)

    def start(self, batch: int, extra_values: int = 0) -> MatrixStream:
        """Return a state of zeros, with `extra_values` more columns."""
        heads, d_k, d_v = self.state_shape
        state = self.q.linear.weight.new_zeros(batch, heads, d_k, d_v + extra_values)
        return MatrixStream(state, (None, None, None))

    def forward(
        self, x: Tensor, tails: tuple[Tensor | None, ...]
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor | None, ...]]:
        """Return q and k `[batch, heads, time, d_k]`, v `[batch, heads, time, d_v]`, and the new tails."""
        (q, k, v), tails = projected((self.q, self.k, self.v), x, tails)
        return q, k, v, tails


def projected(
    projections: Sequence[Projection], x: Tensor, tails: tuple[Tensor | None, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
    """Return each projection of tokens `[batch, time, dim]`, and the new tails of the convolutions."""
    found = [project(x, tail) for project, tail in zip(projections, tails, strict=True)]
    return tuple(y for y, _ in found), tuple(tail for _, tail in found)


class Readout(nn.Module):
    """The readout of a recurrence: RMSNorm of each head, an optional gate from the token, and the output projection.

    Outputs are scaled by d_k^-1/2 before the norm, as published. The norm's epsilon is large enough to matter: it keeps
    outputs near 0 from being amplified.

    Args:
        sizes: Widths.
        gated: Whether there is a gate.
        activation: What the gate's logits pass.
        low_rank: Whether the gate has a bias and passes d_v channels, instead of being one matrix.
    """

    def __init__(
        self, sizes: Sizes, *, gated: bool, activation: Callable[[Tensor], Tensor] = F.silu, low_rank: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.scale, self.activation = sizes.heads, sizes.d_k**-0.5, activation
        self.norm = RMSNorm(sizes.d_v, EPSILON)
        self.gate: nn.Module | None = None
        if low_rank:
            self.gate = through(sizes.dim, sizes.d_v, sizes.values, bias=True)
        elif gated:
            self.gate = Linear(sizes.dim, sizes.values, bias=False)
        self.out = Linear(sizes.values, sizes.dim, bias=False)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """Return `[batch, time, dim]` for the recurrence's outputs `[batch, heads, time, d_v]` and its tokens x."""
        y = self.norm(self.scale * y)
        if self.gate is not None:
            y = y * self.activation(split_heads(self.gate(x), self.heads))
        return self.out(merge_heads(y))


class MatrixMixer(Mixer):
    """A mixer over an operator whose state is a matrix for each head.

    Args:
        config: What to build.
        operator: A key of `REFERENCES`.

    Attributes:
        kernel: Implementation of the operator: see `titans.ops.fla`.
        writes: Whether tokens write to the state: see `titans.mixers.mixer.HasWrites`.
    """

    kernel: KernelName = "auto"
    writes = True

    def __init__(self, config: ModelConfig, operator: Operator) -> None:
        super().__init__()
        self.operator, self.chunk_size = operator, config.recurrent.chunk_size

    def use_kernel(self, kernel: str) -> None:
        """Use flash-linear-attention for "fla", and torch for any other name."""
        self.kernel = "fla" if kernel == "fla" else "torch"

    def recur(self, state: Tensor, *given: Tensor, **settings: int) -> tuple[Tensor, Tensor]:
        """Return the operator's outputs `[batch, heads, time, d_v]` and end state `[batch, heads, d_k, d_v]`.

        The state is a sum over all tokens, so it keeps its own precision under autocast.
        """
        with torch.autocast(state.device.type, enabled=False):
            exact = (x.to(state.dtype) for x in given)
            how = {"chunk_size": self.chunk_size, "kernel": self.kernel, **settings}
            y, after = self.operator(*exact, state=state, **how)
        return (y, after) if self.writes else (torch.zeros_like(y), state)  # a state of zeros is read


#: The reference implementation of each operator.
REFERENCES: dict[Operator, Operator] = {
    comba: naive_comba,
    gated_delta_product: naive_gated_delta_product,
    gated_delta_rule: naive_gated_delta_rule,
    gated_delta_rule_2: naive_gated_delta_rule_2,
    gated_linear_attention: naive_gated_linear_attention,
    kda: naive_kda,
    log_linear_attention: naive_log_linear_attention,
    momentum_delta_rule: naive_momentum_delta_rule,
    rwkv7: naive_rwkv7,
}


def recur_token_by_token(mixer: MatrixMixer) -> None:
    """Make a mixer compute with the reference implementation of its operator."""
    naive = REFERENCES[mixer.operator]
    mixer.operator = lambda *given, chunk_size, kernel, **rest: naive(*given, **rest)


class Decay(nn.Module):
    """The decay of Mamba-2, also of Gated DeltaNet: exp(-A dt) for each head and token, dt = softplus(x W + bias).

    A and dt start at the quantiles of the distributions that were published: A uniform, dt log-uniform. So the initial
    values of a model depend on its seed through the matrices alone. Both grow from the first head to the last, which
    gives the heads the widest range of time scales.

    Args:
        heads: Number of heads.
        lowest: Lower end of the distribution of A. The upper end is 16.
    """

    def __init__(self, heads: int, lowest: float) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(uniform_quantiles(heads, lowest, FASTEST).log().float())
        self.step_bias = nn.Parameter(initial_steps(heads).float())

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return dt and the log-decay, each `[batch, heads, time]`, for logits x W `[batch, time, heads]`."""
        step = F.softplus((logits + self.step_bias).mT)
        return step, -self.log_rate.exp().unsqueeze(-1) * step


class ChannelDecay(nn.Module):
    """The decay of Kimi delta attention: exp(-A dt) for each channel of the keys, dt = softplus(x W_1 W_2 + bias).

    A head has one A, and W_1 W_2 has the rank d_v. A starts as in `Decay`, and dt in the same way within each head.

    Args:
        sizes: Widths.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.logits = through(sizes.dim, sizes.d_v, sizes.keys)
        self.log_rate = nn.Parameter(uniform_quantiles(sizes.heads, 1.0, FASTEST).log().float())
        self.step_bias = nn.Parameter(initial_steps(sizes.d_k).repeat(sizes.heads).float())

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-decay `[batch, heads, time, d_k]` for tokens `[batch, time, dim]`."""
        step = split_heads(F.softplus(self.logits(x) + self.step_bias), len(self.log_rate))
        return -self.log_rate.exp().view(-1, 1, 1) * step


def uniform_quantiles(count: int, lowest: float, highest: float) -> Tensor:
    """Return the quantiles of a uniform distribution, ascending, `[count]` in float64."""
    return lowest + (highest - lowest) * (torch.arange(count, dtype=torch.float64) + 0.5) / count


def initial_steps(count: int) -> Tensor:
    """Return the quantiles, as logits of a softplus, of log-uniform steps in `STEP_RANGE`, `[count]` in float64."""
    shortest, longest = STEP_RANGE
    return inverse_softplus(shortest * (longest / shortest) ** uniform_quantiles(count, 0.0, 1.0))
