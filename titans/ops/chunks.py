"""What the chunk-parallel recurrences share: time cut into chunks, and decays over segments of a chunk.

A decay over several tokens is exp of the sum of their log-decays, and each sum is taken over just these tokens. So no
decay is above 1, no difference of two long sums loses its digits, and a log-decay of -inf, which forgets everything, is
exact.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64  # tokens; a larger chunk makes each token cost more, and needs fewer states between chunks


def into_chunks(x: Tensor, size: int) -> Tensor:
    """Cut `[batch, heads, time, ...]` into `[batch, heads, chunks, size, ...]`, the last chunk filled up with zeros.

    Zeros are tokens that change nothing: no key, no value, and a log-decay of 0.
    """
    x = F.pad(x, [0, 0] * (x.dim() - 3) + [0, -x.shape[2] % size])
    return x.unflatten(2, (-1, size))


def from_chunks(x: Tensor, time: int) -> Tensor:
    """Join `[batch, heads, chunks, size, ...]` to `[batch, heads, time, ...]`: the inverse of `into_chunks`."""
    return x.flatten(2, 3)[:, :, :time]


def since_start(log_decay: Tensor) -> Tensor:
    """Return how much of a segment's first state is left after each token, from and as `[..., size, channels]`."""
    return log_decay.cumsum(-2).exp()


def until_end(log_decay: Tensor) -> Tensor:
    """Return how much of each token's write is left at the segment's end, from and as `[..., size, channels]`."""
    after = F.pad(log_decay[..., 1:, :], (0, 0, 0, 1))
    return after.flip(-2).cumsum(-2).flip(-2).exp()


def between(log_decay: Tensor) -> Tensor:
    """Return how much of token i's write is left at token t, 0 for a later i: `[..., size (t), size (i)]`.

    `log_decay` is `[..., size]`.
    """
    size = log_decay.shape[-1]
    steps = log_decay.unsqueeze(-1).expand(*log_decay.shape, size).tril(-1)
    return steps.cumsum(-2).exp().tril()


def join(blocks: Tensor, across: Tensor) -> Tensor:
    """Join every two neighbouring diagonal blocks to a lower triangular one.

    Args:
        blocks: The diagonal blocks, `[..., 2 p, m, m]`.
        across: The block below each two of them, `[..., p, m, m]`.

    Returns:
        `[..., p, 2 m, 2 m]`.
    """
    first, second = blocks.unflatten(-3, (-1, 2)).unbind(-3)
    return torch.cat((F.pad(first, (0, first.shape[-1])), torch.cat((across, second), -1)), -2)


def empty_state(k: Tensor, v: Tensor) -> Tensor:
    """Return zeros `[batch, heads, d_k, d_v]` for k `[..., d_k]` and v `[batch, heads, ..., d_v]`."""
    return v.new_zeros(*v.shape[:2], k.shape[-1], v.shape[-1])
