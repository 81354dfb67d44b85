"""How much of each write is left after each token: the masks of the closed form.

With the inner gradients anchored, momentum and weights are linear in (M_0, S_0, the writes of the chunk). So the two
recurrences of the paper, run on coefficients instead of weights, give the masks exactly, at gates of 0 and 1 too, where
a form with logarithms or quotients of cumulated products breaks down.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Coefficients(NamedTuple):
    """For every chunk and set of gates, `[chunk, set, batch, heads, ...]`, t and i inside the chunk.

    W_t = start_t W_0 + drift_t S_0 - sum_i mask[t, i] delta_i x_i^T
    S_last = momentum_start S_0 - sum_i momentum_mask[i] delta_i x_i^T

    Attributes:
        start: beta of PAPER eq. in section 3.2, `[..., chunk_size]`.
        drift: What is left in the weights of the momentum that the chunk began with, `[..., chunk_size]`.
        mask: C, lower triangular, `[..., chunk_size, chunk_size]`.
        momentum_start: h of the last token, `[...]`.
        momentum_mask: Last row of H diag(theta), `[..., chunk_size]`.
    """

    start: Tensor
    drift: Tensor
    mask: Tensor
    momentum_start: Tensor
    momentum_mask: Tensor


def chunk_coefficients(theta: Tensor, eta: Tensor | None, alpha: Tensor | None, size: int) -> list[Coefficients]:
    """The coefficients of each chunk of a sequence; the last chunk may be shorter.

    Args:
        theta, eta, alpha: `[batch, heads, time]` or `[batch, heads, time, layers]`.
        size: Tokens a chunk.
    """
    time = theta.shape[2]
    sets = max(gate.shape[-1] if gate.dim() == 4 else 1 for gate in (theta, eta, alpha) if gate is not None)
    whole, rest = divmod(time, size)
    parts = []
    if whole:
        gates = [_by_chunk(gate, sets, 0, whole * size, size) for gate in (theta, eta, alpha)]
        parts += [Coefficients(*part) for part in zip(*(x.unbind() for x in _recur(*gates)), strict=True)]
    if rest:
        gates = [_by_chunk(gate, sets, whole * size, time, rest) for gate in (theta, eta, alpha)]
        parts.append(Coefficients(*(x[0] for x in _recur(*gates))))
    return parts


def _by_chunk(gate: Tensor | None, sets: int, begin: int, end: int, size: int) -> Tensor | None:
    """`[chunk, set, batch, heads, size]`."""
    if gate is None:
        return None
    gate = gate[:, :, begin:end, None] if gate.dim() == 3 else gate[:, :, begin:end]
    batch, heads = gate.shape[:2]
    return gate.reshape(batch, heads, -1, size, gate.shape[-1]).permute(2, 4, 0, 1, 3).expand(-1, sets, -1, -1, -1)


def _recur(theta: Tensor | None, eta: Tensor | None, alpha: Tensor | None) -> Coefficients:
    """Run S_t = eta_t S_{t-1} + write_t and M_t = (1 - alpha_t) M_{t-1} + S_t on the columns (S_0, writes)."""
    assert theta is not None
    size = theta.shape[-1]
    basis = F.one_hot(torch.arange(1, size + 1, device=theta.device), size + 1).to(theta.dtype)
    momentum = F.one_hot(torch.zeros((), dtype=torch.long, device=theta.device), size + 1).to(theta.dtype)
    momentum, rows = momentum.expand(*theta.shape[:-1], size + 1), []
    weights, start = torch.zeros_like(momentum), torch.ones_like(theta[..., 0])
    starts = []
    for t in range(size):
        momentum = basis[t] if eta is None else torch.addcmul(basis[t], eta[..., t, None], momentum)
        if alpha is None:
            weights = weights + momentum
        else:
            keep = 1 - alpha[..., t]
            start = start * keep
            weights = torch.addcmul(momentum, keep[..., None], weights)
        rows.append(weights)
        starts.append(start)
    momentum = momentum.expand_as(weights)
    drift, mask = torch.stack(rows, -2).split([1, size], -1)
    return Coefficients(
        torch.stack(starts, -1), drift.squeeze(-1), mask * theta.unsqueeze(-2), momentum[..., 0], momentum[..., 1:] * theta
    )
