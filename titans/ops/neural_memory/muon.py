"""Muon as the inner optimizer: the weights move by a momentum whose singular values are made nearly equal.

Paper: ATLAS (arXiv 2505.23735), eqs. 32 and 33, in the names of Titans: S sums gradients without a step size, and theta
is the step of the weights, since NS, the Newton-Schulz iteration, takes no notice of the scale of S:

    S_t = eta_t S_{t-1} - grad loss(M; k_t, v_t)          W_t = (1 - alpha_t) W_{t-1} + theta_t NS(S_t)

This is `update_every` 1, and a group of `update_every` tokens moves the weights once, at its last token:

    S <- eta S - sum_i (theta_i / theta) grad_i           W <- (1 - alpha) W + theta NS(S)

with theta the sum of the group's theta_i, eta of its first token and alpha of its last. LaCT (arXiv 2505.23884) has one
group a chunk. An incomplete group at the end of a call is in the momentum only, as if it had no more tokens. With a
window, grad_i is the sum over the window. Gradients are taken at the chunk's start.

NS is not linear, so the closed form has no mask for it. But the momentum is linear in the gradients, so that of all
groups is known before the weights move: one batched iteration takes them all, and each group has weights of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.neural_memory.chunk import Products, read_chunk
from titans.ops.neural_memory.coefficients import Gates, by_chunk
from titans.ops.neural_memory.mlp import Surprise, inner_gradient, read_memory
from titans.ops.neural_memory.state import LaggedState, MemoryState, State, Switches
from titans.ops.neural_memory.window import band

STEPS = 5  # of the iteration; both papers have five
#: Muon's polynomial, x -> a x + b x^3 + c x^5 on every singular value (Keller Jordan, 2024).
POLYNOMIAL = 3.4445, -4.7750, 2.0315
EPS = 1e-7  # what Muon adds to a norm; here to its square, as EPS^2, so that a momentum of 0 has a derivative


class MuonCoefficients(NamedTuple):
    """The gates of a layer by group, over a chunk.

    Attributes:
        share: How much of each write, the halo's first, a group takes into its momentum,
            `[N, groups, update_every + window - 1]`.
        step: The step of the weights, `[N, groups]`.
        carry, keep: How much of the momentum and of the weights a group leaves, `[N, groups, channels]`.
    """

    share: Tensor
    step: Tensor
    carry: Tensor
    keep: Tensor


def muon_coefficients(gates: Gates, size: int, update_every: int) -> MuonCoefficients:
    """Return the coefficients of one layer over whole chunks, stacked: each tensor is `[chunks, N, ...]`.

    Args:
        gates: `[N, chunks * size]`, or `[N, chunks * size, channels]`.
        size: Tokens in a chunk.
        update_every: Tokens in a group. The last group of a chunk may be incomplete.
    """

    def grouped(x: Tensor) -> Tensor:  # [chunks, N, groups, update_every, channels]
        of_chunk = by_chunk(x if x.dim() == 3 else x.unsqueeze(-1), size)
        return F.pad(of_chunk, (0, 0, 0, -size % update_every)).unflatten(2, (-1, update_every))

    theta = grouped(gates.theta).squeeze(-1)
    step = theta.sum(-1).abs()  # theta is negative where the memory climbs its loss
    # theta / step, as a softmax, whose derivative has no difference of quotients by small steps
    share = theta.sign() * theta.abs().clamp(min=torch.finfo(theta.dtype).tiny).log().softmax(-1)
    if gates.gamma is not None:
        share = (share.unsqueeze(-2) @ band(grouped(gates.gamma))).squeeze(-2)
    carry = torch.zeros_like(theta[..., :1]) if gates.eta is None else grouped(gates.eta)[..., 0, :]
    keep = torch.ones_like(theta[..., :1]) if gates.alpha is None else 1 - grouped(gates.alpha)[..., -1, :]
    return MuonCoefficients(share, step, carry, keep)


def forward_chunk_by_muon(
    switches: Switches, state: State, coefficients: Sequence[MuonCoefficients | None], q: Tensor, k: Tensor, v: Tensor,
    threshold: Tensor | None = None,
) -> tuple[Tensor, State, Products]:  # fmt: skip
    """Write a chunk into the memory and read it, q `[N, C, D]`; see `forward_chunk`."""
    inner = (state.weights, k, v)
    if not switches.outer_gradient:
        inner = tuple(w.detach() for w in state.weights), k.detach(), v.detach()
        threshold = None if threshold is None else threshold.detach()
    surprise = inner_gradient(*inner, switches, threshold=threshold)
    return *advance_by_muon(switches, state, coefficients, surprise, q, state), Products((), (), ())


def advance_by_muon(
    switches: Switches, state: State, coefficients: Sequence[MuonCoefficients | None], surprise: Surprise, q: Tensor,
    opening: State,
) -> tuple[Tensor, State]:  # fmt: skip
    """Write tokens of a chunk, given their surprise, and read the memory with each query.

    Args:
        switches: How the memory is built, written and read.
        state: The state before these tokens, `[N, O, I]` for each layer.
        coefficients: The coefficients of each layer `[N, ...]`; None for a layer that is not written.
        surprise: The inner gradients of the tokens, and with a window of its halo before them.
        q: `[N, tokens, D]`.
        opening: The state that the chunk started with.

    Returns:
        What was read, like q, and the state after these tokens.
    """
    every, whole = switches.update_every, q.shape[1] // switches.update_every
    layers = zip(state.weights, state.momentum, coefficients, surprise.x, surprise.delta, strict=True)
    paths, momentum = zip(*(_layer(w, s, c, x, delta, whole, switches) for w, s, c, x, delta in layers), strict=True)
    after = tuple(path[:, -1] for path in paths)
    end = LaggedState(after, momentum, opening.weights) if switches.read == "previous" else MemoryState(after, momentum)
    if switches.read != "token":
        return read_chunk(switches, opening, [None] * len(after), surprise, q)[0], end
    # The last token of a group reads the weights that it moved, so that groups of readers begin one token earlier.
    readers = F.pad(q, (0, 0, 1, -(q.shape[1] + 1) % every)).unflatten(1, (-1, every))
    y = read_memory(paths, readers, switches.activation, switches.residual, switches.gain)
    return y.flatten(1, 2)[:, 1 : q.shape[1] + 1], end


def newton_schulz(s: Tensor) -> Tensor:
    """Return matrices `[..., O, I]` with their singular values taken towards 1, those that are not small."""
    a, b, c = POLYNOMIAL
    x = s * torch.rsqrt(s.square().sum((-2, -1), keepdim=True) + EPS**2)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


def _layer(
    w: Tensor, s: Tensor, c: MuonCoefficients | None, x: Tensor, delta: Tensor, whole: int, switches: Switches
) -> tuple[Tensor, Tensor]:
    """Return a layer's weights at the start and after each whole group, `[N, 1 + whole, O, I]`, and its momentum."""
    if c is None:
        return w.unsqueeze(1).expand(-1, 1 + whole, *w.shape[1:]), s
    x, delta = (_by_group(z, c.share, switches.update_every) for z in (x, delta))
    gradients = (c.share.unsqueeze(-1) * delta).mT @ x
    momenta, path = [], [w]
    for carry, gradient in zip(c.carry.unbind(1), gradients.unbind(1), strict=True):
        s = carry.unsqueeze(1) * s - gradient
        momenta.append(s)
    if whole:
        moves = c.step[:, :whole, None, None] * newton_schulz(torch.stack(momenta[:whole], 1))
        for keep, move in zip(c.keep[:, :whole].unbind(1), moves.unbind(1), strict=True):
            path.append(keep.unsqueeze(1) * path[-1] + move)
    return torch.stack(path, 1), s


def _by_group(x: Tensor, share: Tensor, every: int) -> Tensor:
    """Return `[N, groups, update_every + window - 1, channels]` of `[N, window - 1 + tokens, channels]`."""
    groups, reach = share.shape[1:]
    return F.pad(x, (0, 0, 0, (groups - 1) * every + reach - x.shape[1])).unfold(1, reach, every).mT
