"""How much of each write is left after each token: the coefficients of the closed form.

With the inner gradients anchored, a token is a linear map of (W, S) and of its own write u_t = -delta_t x_t^T:

    S <- eta S + theta u        W <- (1 - alpha) W + S

and so is a stretch of tokens; two neighbouring stretches compose to one. A chunk is built up by doubling, in
log2(chunk_size) rounds, without a logarithm or a quotient, so it is exact at gates of 0 and 1. What a token of the
later stretch still holds of a write in the earlier one is a sum of two products: the masks, block by block.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.chunks import join


class Stretch(NamedTuple):
    """Stretches of tokens as maps of the (W, S) that they start from; t and i count inside a stretch.

    W_t = start_t W + drift_t S + ..., and at the end W' = ... + sum_i into_weights_i u_i,
    S' = decay S + sum_i into_momentum_i u_i. Channels are 1, or a layer's inputs where gates are per channel.

    Attributes:
        start, drift: `[..., stretches, size, channels]`.
        decay: `[..., stretches, 1, channels]`.
        into_weights, into_momentum: `[..., stretches, size, channels]`.
    """

    start: Tensor
    drift: Tensor
    decay: Tensor
    into_weights: Tensor
    into_momentum: Tensor

    @property
    def size(self) -> int:
        """Tokens a stretch."""
        return self.start.shape[-2]

    def pairs(self) -> tuple[Stretch, Stretch]:
        """The earlier and the later of every two neighbours."""
        split = [x.unflatten(-3, (-1, 2)).unbind(-3) for x in self]
        return Stretch(*(x[0] for x in split)), Stretch(*(x[1] for x in split))


class Coefficients(NamedTuple):
    """Of one layer over a chunk: its rounds of doubling, and what `Stretch` says of the whole.

    Attributes:
        rounds: The (earlier, later) pairs of each round, smallest first, `[batch, heads, pairs, size, channels]`.
        own: What a token holds of its own write, `[batch, heads, size, channels]`.
        mask: Where all channels share a gate: what token t holds of write i, `[batch, heads, size, size]`; else None.
        whole: The chunk, `[batch, heads, size, channels]`, and `[batch, heads, 1, channels]` for the decay.
    """

    rounds: tuple[tuple[Stretch, Stretch], ...]
    own: Tensor
    mask: Tensor | None
    whole: Stretch

    def unbind(self) -> list[Coefficients]:
        """Stacked coefficients, chunk by chunk."""
        masks = [None] * len(self.own) if self.mask is None else self.mask.unbind()
        apart = [list(zip(_unbind(first), _unbind(second), strict=True)) for first, second in self.rounds]
        by_chunk = [tuple(pairs[n] for pairs in apart) for n in range(len(self.own))]
        return [Coefficients(*c) for c in zip(by_chunk, self.own.unbind(), masks, _unbind(self.whole), strict=True)]

    def scores(self, g: Tensor, x: Tensor) -> Tensor:
        """sum over channels of mask * g_t * x_i, `[batch, heads, size, size]`, 0 where i comes after t."""
        if self.mask is not None:
            return (g @ x.mT) * self.mask
        time = g.shape[-2]
        padded = 2 ** len(self.rounds)
        g, x, own = (F.pad(z, (0, 0, 0, padded - time)) for z in (g, x, self.own))
        blocks = (g * own * x).sum(-1)[..., None, None]
        for first, second in self.rounds:
            earlier, later = (z.unflatten(-2, (-1, 2, first.size)) for z in (x, g))
            blocks = join(blocks, _across(first, second, later[..., 1, :, :], earlier[..., 0, :, :]))
        return blocks.squeeze(-3)[..., :time, :time]


def chunk_coefficients(
    theta: Tensor, eta: Tensor | None, alpha: Tensor | None, chunk_size: int, update_every: int = 1
) -> list[Coefficients]:
    """`stacked_coefficients` chunk by chunk, for any time: the last chunk may be shorter."""
    whole = theta.shape[2] // chunk_size * chunk_size
    parts = []
    for part in (slice(None, whole), slice(whole, None)):
        cut = [None if g is None else g[:, :, part] for g in (theta, eta, alpha)]
        assert cut[0] is not None
        if time := cut[0].shape[2]:
            parts += stacked_coefficients(cut[0], cut[1], cut[2], min(chunk_size, time), update_every).unbind()
    return parts


def stacked_coefficients(
    theta: Tensor, eta: Tensor | None, alpha: Tensor | None, size: int, update_every: int = 1
) -> Coefficients:
    """The coefficients of one layer over chunks of equal size, stacked: `[chunks, batch, heads, ...]`.

    Args:
        theta: `[batch, heads, time]`, whole chunks.
        eta, alpha: The same, or `[batch, heads, time, channels]`; None: off.
        size: Tokens a chunk.
        update_every: Tokens whose writes reach the weights together, at the last of them.
    """
    gates = [None if g is None else g if g.dim() == 4 else g.unsqueeze(-1) for g in (theta, eta, alpha)]
    assert gates[0] is not None
    return _of_chunks(_tokens(gates[0], gates[1], gates[2], update_every), size)


def _tokens(theta: Tensor, eta: Tensor | None, alpha: Tensor | None, every: int) -> Stretch:
    """Each token as a stretch of its own, `[batch, heads, time, 1, channels]`."""
    keep = torch.ones_like(theta) if alpha is None else 1 - alpha
    carry = torch.zeros_like(theta) if eta is None else eta
    keep, carry, theta = torch.broadcast_tensors(keep, carry, theta)
    drift, into_weights = carry, theta
    if every > 1:  # momentum decays at the first of a group, weights forget and take the momentum in at its last
        place = torch.arange(theta.shape[2], device=theta.device)[:, None] % every
        carry = torch.where(place == 0, carry, 1)
        last = place == every - 1
        keep, drift, into_weights = torch.where(last, keep, 1), carry * last, theta * last
    return Stretch(*(x.unsqueeze(-2) for x in (keep, drift, carry, into_weights, theta)))


def _of_chunks(tokens: Stretch, size: int) -> Coefficients:
    """Double up the tokens of every chunk at once."""
    stretch = Stretch(*(x.unflatten(2, (-1, size)).movedim(2, 0) for x in tokens))
    shared = stretch.start.shape[-1] == 1
    own = stretch.into_weights.squeeze(-2)
    stretch, rounds = _padded(stretch), []
    mask = stretch.into_weights
    while stretch.start.shape[-3] > 1:
        first, second = stretch.pairs()
        if shared:
            mask = join(mask, second.start * first.into_weights.mT + second.drift * first.into_momentum.mT)
        else:
            rounds.append((first, second))
        stretch = _compose(first, second)
    whole = Stretch(*(x.squeeze(-3)[..., :size, :] for x in stretch))
    return Coefficients(tuple(rounds), own, mask.squeeze(-3)[..., :size, :size] if shared else None, whole)


def _unbind(stretch: Stretch) -> list[Stretch]:
    return [Stretch(*x) for x in zip(*(x.unbind() for x in stretch), strict=True)]


def _padded(stretch: Stretch) -> Stretch:
    """Tokens that change nothing, up to a power of two."""
    count = stretch.start.shape[-3]
    missing = (1 << (count - 1).bit_length()) - count
    neutral = (1.0, 0.0, 1.0, 0.0, 0.0)
    return Stretch(*(F.pad(x, (0, 0, 0, 0, 0, missing), value=v) for x, v in zip(stretch, neutral, strict=True)))


def _compose(first: Stretch, second: Stretch) -> Stretch:
    """The map of `first` and then `second`."""
    start, drift = first.start[..., -1:, :], first.drift[..., -1:, :]
    later_start, later_drift = second.start[..., -1:, :], second.drift[..., -1:, :]
    return Stretch(
        torch.cat((first.start, second.start * start), -2),
        torch.cat((first.drift, second.start * drift + second.drift * first.decay), -2),
        first.decay * second.decay,
        torch.cat((later_start * first.into_weights + later_drift * first.into_momentum, second.into_weights), -2),
        torch.cat((second.decay * first.into_momentum, second.into_momentum), -2),
    )


def _across(first: Stretch, second: Stretch, g: Tensor, x: Tensor) -> Tensor:
    """Scores of the queries g of the later stretches with the writes x of the earlier ones."""
    weights = (second.start * g) @ (first.into_weights * x).mT
    return weights + (second.drift * g) @ (first.into_momentum * x).mT
