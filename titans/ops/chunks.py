"""What chunk-parallel recurrences share: time cut into chunks, decays over parts of one, states from one to the next.

A decay over several tokens is exp of the sum of their log-decays, each sum taken over just these tokens. So none is
above 1, no difference of two long sums loses its digits, and a log-decay of -inf, which forgets everything, is exact.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64  # tokens; inside a chunk the cost of a token grows with it, between chunks the number of states falls


def into_chunks(x: Tensor, size: int) -> Tensor:
    """`[batch, heads, time, ...]` to `[batch, heads, chunks, size, ...]`, the last chunk filled up with zeros.

    Zeros are tokens that change nothing: no key, no value, and a log-decay of 0.
    """
    x = F.pad(x, [0, 0] * (x.dim() - 3) + [0, -x.shape[2] % size])
    return x.unflatten(2, (-1, size))


def from_chunks(x: Tensor, time: int) -> Tensor:
    """The inverse of `into_chunks`."""
    return x.flatten(2, 3)[:, :, :time]


def since_start(log_decay: Tensor) -> Tensor:
    """What is left, after each token, of what a part started with: `[..., size, channels]` to the same."""
    return log_decay.cumsum(-2).exp()


def until_end(log_decay: Tensor) -> Tensor:
    """What is left, at the end of a part, of what each of its tokens wrote: `[..., size, channels]` to the same."""
    after = F.pad(log_decay[..., 1:, :], (0, 0, 0, 1))
    return after.flip(-2).cumsum(-2).flip(-2).exp()


def between(log_decay: Tensor) -> Tensor:
    """What is left at token t of what token i wrote, 0 for a later i: `[..., size]` to `[..., size (t), size (i)]`."""
    size = log_decay.shape[-1]
    steps = log_decay.unsqueeze(-1).expand(*log_decay.shape, size).tril(-1)
    return steps.cumsum(-2).exp().tril()


def join(blocks: Tensor, across: Tensor) -> Tensor:
    """`[..., 2 p, m, m]` blocks on the diagonal and `[..., p, m, m]` below each two of them: `[..., p, 2 m, 2 m]`."""
    first, second = blocks.unflatten(-3, (-1, 2)).unbind(-3)
    return torch.cat((F.pad(first, (0, first.shape[-1])), torch.cat((across, second), -1)), -2)


def empty_state(k: Tensor, v: Tensor) -> Tensor:
    """Zeros `[batch, heads, d_k, d_v]`."""
    return v.new_zeros(*v.shape[:2], k.shape[-1], v.shape[-1])
