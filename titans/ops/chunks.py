"""The common parts of chunk-parallel recurrences: chunks of time, and decays over segments of a chunk.

A decay over several tokens is exp of the sum of their log-decays, and each sum is taken over just these tokens. So no
decay is above 1, no difference of two long sums loses its digits, and a log-decay of -inf, which forgets everything, is
exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64  # tokens; larger chunks cost more FLOPs per token, and store fewer states


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
    """Return the decay from a segment's start to after each token; both tensors are `[..., size, channels]`."""
    return log_decay.cumsum(-2).exp()


def until_end(log_decay: Tensor) -> Tensor:
    """Return the decay from each token's write to the segment's end; both tensors are `[..., size, channels]`."""
    after = F.pad(log_decay[..., 1:, :], (0, 0, 0, 1))
    return after.flip(-2).cumsum(-2).flip(-2).exp()


def between(log_decay: Tensor) -> Tensor:
    """Return the decay from token i's write to token t, 0 for a later i: `[..., size (t), size (i)]`.

    `log_decay` is `[..., size]`.
    """
    size = log_decay.shape[-1]
    steps = log_decay.unsqueeze(-1).expand(*log_decay.shape, size).tril(-1)
    return steps.cumsum(-2).exp().tril()


def whole_chunk(size: int, log_decay: Tensor) -> int:
    """Return the tokens of a chunk for log-decays `[batch, heads, time, 1 or channels]`: at most all tokens.

    With decays per channel it is a power of 2, as scores are built up by doubling.
    """
    size = min(size, log_decay.shape[2])
    return size if log_decay.shape[-1] == 1 else 1 << (size - 1).bit_length()


def decayed_scores(log_decay: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function of q and k that gives q_t . (k_i times the decay between i and t), 0 for a later i.

    It takes q and k `[..., size, channels]` and returns `[..., size (t), size (i)]`.

    Args:
        log_decay: `[..., size, 1]`; or with a decay per channel `[..., size, channels]`, where size is a power of 2.
    """
    if log_decay.shape[-1] > 1:
        return partial(_channel_scores, log_decay)
    mask = between(log_decay.squeeze(-1))
    return lambda q, k: (q @ k.mT) * mask


def _channel_scores(log_decay: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """Return the sum over channels of q_t k_i times the decay between i and t, as `[..., size, size]`.

    The scores are built up by doubling. The scores within each half of a segment come from the round before. Those of
    the later half's queries for the earlier half's keys are a matrix product, since the decay between the two tokens is
    the product of the decay up to the middle and that from the middle on.

    Args:
        log_decay, q, k: `[..., size, channels]`; size is a power of 2.
    """
    blocks = torch.broadcast_tensors((q * k).sum(-1), log_decay[..., 0])[0][..., None, None]
    half = 1
    while half < q.shape[-2]:
        halves = [x.unflatten(-2, (-1, 2, half)).unbind(-3) for x in (q, k, log_decay)]
        (_, later), (earlier, _), (first, second) = halves
        blocks = join(blocks, (later * since_start(second)) @ (earlier * until_end(first)).mT)
        half *= 2
    return blocks.squeeze(-3)


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


def states_between(writes: Tensor, decays: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return the state that each chunk starts with, `[batch, heads, chunks, d_k, d_v]`, and the one after the last."""
    starts = []
    for write, decay in zip(writes.unbind(2), decays.unbind(2), strict=True):
        starts.append(state)
        state = decay * state + write
    return torch.stack(starts, 2), state


def solved(system: Tensor, values: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return U and W: the solutions of a system for values and keys, all `[..., rows, columns]`.

    The system is taken as lower triangular with a unit diagonal: its entries on and above the diagonal are ignored.
    """
    sides = torch.cat((values, keys), -1)
    solved = torch.linalg.solve_triangular(system, sides, upper=False, unitriangular=True)
    return solved.split((values.shape[-1], keys.shape[-1]), -1)


def empty_state(k: Tensor, v: Tensor) -> Tensor:
    """Return zeros `[batch, heads, d_k, d_v]` for k `[..., d_k]` and v `[batch, heads, ..., d_v]`."""
    return v.new_zeros(*v.shape[:2], k.shape[-1], v.shape[-1])
