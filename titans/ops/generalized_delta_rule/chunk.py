"""The generalized delta rule, chunk by chunk: the WY form of a product of maps I - k e^T (arXiv 2406.06484).

The value that a step writes, delta = v - e^T S, depends on those of the chunk's earlier steps. Let A[t, i] be the
product of the erased key of t and the decayed key of i, and G_t the decay since the chunk's start. Then the chunk is
one triangular system:

    (I + strict(A)) delta = V - (E * G) S

It is solved for V and for E * G before S is known: delta = U - W S.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.chunks import decayed_scores, from_chunks, into_chunks, since_start, solved, until_end, whole_chunk


def delta_rule_by_chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    erase: Tensor,
    log_decay: Tensor,
    state: Tensor,
    chunk_size: int,
    *,
    early: bool = False,
    added: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Run S = diag(a_t) S_{t-1}, then S = S + k (v - e^T S) for each step of a token, and y_t = S_t^T q_t.

    Args:
        q: `[batch, heads, time, d_k]`.
        k, v, erase: The key, the value and the erased key e of each step, `[batch, heads, time, steps, d_k or d_v]`.
        log_decay: log a_t, `[batch, heads, time]` or with a decay per channel `[batch, heads, time, d_k]`.
        state: `[batch, heads, d_k, d_v]`.
        chunk_size: Tokens that are computed together.
        early: Whether a token's only step finds e^T S_{t-1}, from before the decay.
        added: A key and a value of each token, `[batch, heads, time, d_k or d_v]`, that are added after its steps and
            before it reads: S = S + k v^T.

    Returns:
        y `[batch, heads, time, d_v]`, and the state after the last token.
    """
    time = q.shape[2]
    g = log_decay if log_decay.dim() == 4 else log_decay.unsqueeze(-1)
    size = whole_chunk(chunk_size, g)
    q, k, v, e, g = (into_chunks(x, size) for x in (q, k, v, erase, g))
    left, kept, scores = since_start(g), until_end(g), decayed_scores(g[..., None, None, :, :])
    of_steps = _found(scores, e, k, early)
    reads, values, fixed = _rows(_found(scores, q.unsqueeze(-2), k)), v.flatten(-3, -2), None
    if added is not None:
        key, value = (into_chunks(x, size) for x in added)
        key = key.unsqueeze(-2)
        values = values - _rows(_found(scores, e, key, early).tril(-1)) @ value
        read_directly = _rows(_found(scores, q.unsqueeze(-2), key)) @ value
        fixed = (key.squeeze(-2) * kept).mT @ value
    of_start = F.pad(left[..., :-1, :], (0, 0, 1, 0), value=1.0) if early else left
    u, w = solved(_rows(of_steps), values, (e * of_start.unsqueeze(-2)).flatten(-3, -2))
    keys = (k * kept.unsqueeze(-2)).flatten(-3, -2).mT
    starts, deltas, end = _states(u, w, keys, left[..., -1:, :].mT, fixed, state)
    y = reads @ deltas + (q * left) @ starts
    return from_chunks(y if added is None else y + read_directly, time), end


def _found(scores: Callable[[Tensor, Tensor], Tensor], readers: Tensor, writers: Tensor, early: bool = False) -> Tensor:
    """Return the products of each reader with the decayed key of each writer, `[..., readers, writers, size, size]`.

    What a token finds before its decay is what the token before it would find after its writes. In the first token's
    row there is then something above the diagonal, which nobody reads.

    Args:
        scores: See `decayed_scores`.
        readers, writers: `[..., size, readers or writers, d_k]`.
        early: Whether a token's only reader finds what was there before the decay.
    """
    if early:
        return _found(scores, readers.roll(-1, -3), writers).roll(1, -2)
    readers, writers = (x.transpose(-2, -3) for x in (readers, writers))
    return scores(readers.unsqueeze(-3), writers.unsqueeze(-4))


def _rows(scores: Tensor) -> Tensor:
    """Order scores `[..., readers, writers, size, size]` in time: `[..., size * readers, size * writers]`."""
    return scores.movedim((-2, -4, -1, -3), (-4, -3, -2, -1)).flatten(-4, -3).flatten(-2)


def _states(
    u: Tensor, w: Tensor, keys: Tensor, decays: Tensor, fixed: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the state that each chunk starts with, what its steps write, and the state after the last chunk.

    Args:
        u, w: delta is u - w S, `[batch, heads, chunks, size * steps, d_v or d_k]`.
        keys: The keys that delta is written with, decayed until the chunk's end, `[..., d_k, size * steps]`.
        decays: The decay over the chunk, `[..., d_k or 1, 1]`.
        fixed: What the chunk adds besides, `[..., d_k, d_v]`.
        state: `[batch, heads, d_k, d_v]`.
    """
    starts, deltas = [], []
    for n, (u_n, w_n, k_n, decay) in enumerate(zip(*(x.unbind(2) for x in (u, w, keys, decays)), strict=True)):
        starts.append(state)
        deltas.append(u_n - w_n @ state)
        state = decay * state + k_n @ deltas[-1]
        if fixed is not None:
            state = state + fixed[:, :, n]
    return torch.stack(starts, 2), torch.stack(deltas, 2), state
