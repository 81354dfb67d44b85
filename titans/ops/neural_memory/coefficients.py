"""The gate coefficients of the closed form: how much of each write the memory holds after each token of a chunk.

With the inner gradients anchored at the chunk's start, a token is a linear map of (W, S) and of its own write
u_t = -delta_t x_t^T:

    S <- eta S + theta u        W <- (1 - alpha) W + S

A segment of tokens is such a map too, and two neighbouring segments compose to one. A chunk is built up by doubling,
in log2(chunk) rounds, without a logarithm or a quotient, so the coefficients are exact at gates of 0 and 1. The share
that a token of the later segment holds of a write in the earlier one is a sum of two products, which gives the mask
block by block.

For example, two tokens with theta 0.1, eta 0.5 and alpha 0.25 give

    W_1 = 0.75 W + 0.5 S + 0.1 u_1                      start 0.75, drift 0.5
    W_2 = 0.5625 W + 0.625 S + 0.125 u_1 + 0.1 u_2      start 0.5625, drift 0.625
    S_2 = 0.25 S + 0.05 u_1 + 0.1 u_2                   decay 0.25

so the mask is ((0.1, 0), (0.125, 0.1)), its last row is into_weights, and into_momentum is (0.05, 0.1).

Shape suffixes of this file: N is batch and heads together, C the tokens of a chunk. Channels are 1, or the inputs of a
layer where its gates are per channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from titans.ops.chunks import join
from titans.ops.neural_memory.window import band


class Gates(NamedTuple):
    """The gates of one layer, `[N, time]`, or for eta and alpha `[N, time, channels]`. None: off.

    gamma, of a window, is `[N, time, window]`: see window.py.
    """

    theta: Tensor
    eta: Tensor | None
    alpha: Tensor | None
    gamma: Tensor | None = None

    @classmethod
    def of(cls, gates: Iterable[Tensor | None]) -> Gates:
        """Return the gates from theta, eta, alpha and gamma `[N, time, ...]`, in this order."""
        theta, eta, alpha, gamma = gates
        assert theta is not None
        return cls(theta, eta, alpha, gamma)


class Segment(NamedTuple):
    """Segments of tokens as maps of the (W, S) that each starts from; t and i count inside a segment.

    W_t = start_t W + drift_t S + ..., and at the end W' = ... + sum_i into_weights_i u_i and
    S' = decay S + sum_i into_momentum_i u_i.

    Attributes:
        start, drift: `[..., segments, size, channels]`.
        decay: `[..., segments, 1, channels]`.
        into_weights, into_momentum: `[..., segments, size, channels]`.
    """

    start: Tensor
    drift: Tensor
    decay: Tensor
    into_weights: Tensor
    into_momentum: Tensor

    def pairs(self) -> tuple[Segment, Segment]:
        """Return the earlier and the later of every two neighbours."""
        split = [x.unflatten(-3, (-1, 2)).unbind(-3) for x in self]
        return Segment(*(x[0] for x in split)), Segment(*(x[1] for x in split))


class ChannelMask(NamedTuple):
    """The mask of a layer with gates per channel, as its rounds of doubling; `[N, C, C, channels]` is never formed.

    Attributes:
        own: The share of its own write that each token holds, `[N, C, channels]`.
        rounds: The earlier and later segments of each round, smallest first, `[N, pairs, size, channels]`.
    """

    own: Tensor
    rounds: tuple[tuple[Segment, Segment], ...]

    def scores(self, g: Tensor, x: Tensor) -> Tensor:
        """Return the masked products of queries g and keys x, both `[N, C, channels]`, as `[N, C, C]`."""
        time, padded = g.shape[-2], 2 ** len(self.rounds)
        g, x, own = (F.pad(z, (0, 0, 0, padded - time)) for z in (g, x, self.own))
        blocks = (g * own * x).sum(-1)[..., None, None]
        for earlier, later in self.rounds:
            x_earlier = x.unflatten(-2, (-1, 2, earlier.start.shape[-2]))[..., 0, :, :]
            g_later = g.unflatten(-2, (-1, 2, later.start.shape[-2]))[..., 1, :, :]
            by_weights = (later.start * g_later) @ (earlier.into_weights * x_earlier).mT
            by_momentum = (later.drift * g_later) @ (earlier.into_momentum * x_earlier).mT
            blocks = join(blocks, by_weights + by_momentum)
        return blocks.squeeze(-3)[..., :time, :time]


class WindowedMask(NamedTuple):
    """The mask of a layer with gates per channel and a window: one mask for each of the window's places.

    Attributes:
        each: The mask without the window.
        gamma: The window's gates, `[N, C, window]`.
    """

    each: ChannelMask
    gamma: Tensor

    def scores(self, g: Tensor, x: Tensor) -> Tensor:
        """Return the masked products of queries g `[N, C, channels]` and keys x, after the halo's, as `[N, C, E]`."""
        time, halo = g.shape[-2], x.shape[-2] - g.shape[-2]
        parts = []
        for back, gamma in enumerate(self.gamma.unbind(-1)):
            first = halo - back
            scores = self.each.scores(g, x[..., first : first + time, :]) * gamma.unsqueeze(-2)
            parts.append(F.pad(scores, (first, back)))
        return torch.stack(parts).sum(0)


class Coefficients(NamedTuple):
    """The shares of a layer's past that the memory holds over a chunk.

    The writes are those of the chunk's tokens; with a window, those of its halo come first, and E is C + window - 1.

    Attributes:
        mask: How much of write i is in the weights after token t, `[N, C, E]`; for gates per channel a `ChannelMask`,
            or with a window a `WindowedMask`.
        start, drift: How much of the chunk's first weights and momentum is in the weights after token t,
            `[N, C, channels]`.
        into_weights, into_momentum: How much of write i is in the weights and in the momentum at the chunk's end,
            `[N, E, channels]`.
        decay: How much of the momentum is left at the chunk's end, `[N, 1, channels]`.
    """

    mask: Tensor | ChannelMask | WindowedMask
    start: Tensor
    drift: Tensor
    into_weights: Tensor
    into_momentum: Tensor
    decay: Tensor


def chunk_coefficients(gates: Gates, size: int, update_every: int = 1) -> Coefficients:
    """Return the coefficients of one layer over whole chunks, stacked: each tensor is `[chunks, N, ...]`.

    Args:
        gates: `[N, chunks * size]`, or `[N, chunks * size, channels]`.
        size: Tokens in a chunk.
        update_every: Tokens whose writes reach the weights together, at the last of them.
    """
    segment = Segment(*(by_chunk(x, size) for x in _tokens(gates, update_every)))
    own = segment.into_weights.squeeze(-2)
    shared = own.shape[-1] == 1
    segment = _padded(segment)
    mask, rounds = segment.into_weights, []
    while segment.start.shape[-3] > 1:
        earlier, later = segment.pairs()
        if shared:
            mask = join(mask, later.start * earlier.into_weights.mT + later.drift * earlier.into_momentum.mT)
        rounds.append((earlier, later))
        segment = _composed(earlier, later)
    whole = Segment(*(x.squeeze(-3)[..., :size, :] for x in segment))
    found = Coefficients(
        mask=mask.squeeze(-3)[..., :size, :size] if shared else ChannelMask(own, tuple(rounds)),
        start=whole.start,
        drift=whole.drift,
        into_weights=whole.into_weights,
        into_momentum=whole.into_momentum,
        decay=whole.decay,
    )
    return found if gates.gamma is None else _windowed(found, by_chunk(gates.gamma, size))


def by_chunk(x: Tensor, size: int) -> Tensor:
    """Return `[chunks, N, size, ...]` of a tensor `[N, chunks * size, ...]`."""
    return x.unflatten(1, (-1, size)).movedim(1, 0)


def _windowed(found: Coefficients, gamma: Tensor) -> Coefficients:
    """Return coefficients of writes that a window applies again, from those without and gamma `[..., C, window]`."""
    again = band(gamma)
    return found._replace(
        mask=found.mask @ again if isinstance(found.mask, Tensor) else WindowedMask(found.mask, gamma),  # type: ignore[arg-type]
        into_weights=again.mT @ found.into_weights,
        into_momentum=again.mT @ found.into_momentum,
    )


def chunk_coefficients_backward(gates: Gates, size: int, update_every: int, gradient: Coefficients) -> Gates:
    """Return the gradients of the gates `[N, time]`, given those of the stacked coefficients `[chunks, N, ...]`."""
    given = [gate for gate in gates if gate is not None]

    def placed(some: Iterable[Tensor]) -> Gates:
        """Return gates `[N, time]` of which those that are on come from `some`, in order."""
        rest = iter(some)
        return Gates.of(None if gate is None else next(rest) for gate in gates)

    def coefficients(*some: Tensor) -> Coefficients:
        return chunk_coefficients(placed(some), size, update_every)

    return placed(torch.func.vjp(coefficients, *given)[1](gradient))


def per_chunk(coefficients: Sequence[Coefficients | None], chunks: int) -> list[tuple[Coefficients | None, ...]]:
    """Return for each chunk the coefficients `[N, ...]` of every layer, from stacked ones `[chunks, N, ...]`."""
    of_layers: list[list[Coefficients | None]] = []
    for stacked in coefficients:
        if stacked is None:
            of_layers.append([None] * chunks)
            continue
        tensors, form = tree_flatten(stacked)
        of_layers.append([tree_unflatten(each, form) for each in zip(*(x.unbind() for x in tensors), strict=True)])
    return list(zip(*of_layers, strict=True))


def _tokens(gates: Gates, every: int) -> Segment:
    """Return each token as a segment of its own, `[N, time, 1, channels]`."""
    theta, eta, alpha = (
        None if gate is None else gate if gate.dim() == 3 else gate.unsqueeze(-1) for gate in gates[:3]
    )
    assert theta is not None
    keep = torch.ones_like(theta) if alpha is None else 1 - alpha
    carry = torch.zeros_like(theta) if eta is None else eta
    keep, carry, theta = torch.broadcast_tensors(keep, carry, theta)
    drift, into_weights = carry, theta
    if every > 1:  # momentum decays at the first token of a group; weights forget and take momentum in at its last
        place = torch.arange(theta.shape[1], device=theta.device)[:, None] % every
        carry = torch.where(place == 0, carry, 1)
        last = place == every - 1
        keep, drift, into_weights = torch.where(last, keep, 1), carry * last, theta * last
    return Segment(*(x.unsqueeze(-2) for x in (keep, drift, carry, into_weights, theta)))


def _padded(tokens: Segment) -> Segment:
    """Return the tokens of a chunk, padded to a power of two with tokens that change nothing."""
    count = tokens.start.shape[-3]
    missing = (1 << (count - 1).bit_length()) - count
    if not missing:
        return tokens
    neutral = Segment(start=1.0, drift=0.0, decay=1.0, into_weights=0.0, into_momentum=0.0)  # type: ignore[arg-type]
    pairs = zip(tokens, neutral, strict=True)
    return Segment(*(F.pad(x, (0, 0, 0, 0, 0, missing), value=value) for x, value in pairs))  # type: ignore[arg-type]


def _composed(earlier: Segment, later: Segment) -> Segment:
    """Return the map of the earlier segment followed by the later one."""
    start, drift = earlier.start[..., -1:, :], earlier.drift[..., -1:, :]
    later_start, later_drift = later.start[..., -1:, :], later.drift[..., -1:, :]
    carried = later_start * earlier.into_weights + later_drift * earlier.into_momentum
    return Segment(
        start=torch.cat((earlier.start, later.start * start), -2),
        drift=torch.cat((earlier.drift, later.start * drift + later.drift * earlier.decay), -2),
        decay=earlier.decay * later.decay,
        into_weights=torch.cat((carried, later.into_weights), -2),
        into_momentum=torch.cat((later.decay * earlier.into_momentum, later.into_momentum), -2),
    )
