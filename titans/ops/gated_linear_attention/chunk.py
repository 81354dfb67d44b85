"""Linear attention with decay, by chunks: attention inside a chunk, a state between chunks (arXiv 2312.06635)."""

from __future__ import annotations

import torch
from torch import Tensor

from titans.ops.arguments import check_log_decay, check_streams
from titans.ops.chunks import CHUNK, between, empty_state, from_chunks, into_chunks, join, since_start, until_end
from titans.ops.fla import KernelName, fla_linear_attention, uses_fla


def gated_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None = None,
    state: Tensor | None = None,
    *,
    chunk_size: int = CHUNK,
    kernel: KernelName = "auto",
) -> tuple[Tensor, Tensor]:
    """Run S_t = diag(a_t) S_{t-1} + k_t v_t^T and y_t = S_t^T q_t, with a_t = exp(log_decay_t).

    A sequence that is cut anywhere, with the state handed on, gives the same as the whole. Queries are not scaled.

    Args:
        q, k: `[batch, heads, time, d_k]`. One head serves all of v's.
        v: `[batch, heads, time, d_v]`.
        log_decay: At most 0; -inf forgets everything before the token. `[batch, heads, time]`, or with a decay for
            each channel of the keys `[batch, heads, time, d_k]`. A batch or heads of 1 serve all. None: no decay.
        state: `[batch, heads, d_k, d_v]`. None: zeros.
        chunk_size: Tokens that are computed together; with decays per channel, the next power of 2. It changes the
            speed alone.
        kernel: "torch", "fla" (see `titans.ops.fla`), or "auto", which is torch.

    Returns:
        y `[batch, heads, time, d_v]`, and the state after the last token.

    Raises:
        ValueError: An argument does not fit; the message names it.
    """
    check_streams(q, k, v, state)
    per_channel = log_decay is not None and log_decay.dim() == 4
    check_log_decay(log_decay, v, *([k.shape[-1]] if per_channel else []))
    if chunk_size < 1:
        raise ValueError(f"chunk_size: {chunk_size} is below 1")
    state = empty_state(k, v) if state is None else state
    if uses_fla(kernel, v, k.shape[-1]):
        return fla_linear_attention(q, k, v, log_decay, state)
    time = v.shape[2]
    size = min(chunk_size, time)
    if per_channel:  # scores are built up by doubling
        size = 1 << (size - 1).bit_length()
    if log_decay is None:
        log_decay = v.new_zeros(1, 1, time)
    g = into_chunks(log_decay if per_channel else log_decay.unsqueeze(-1), size)
    q, k, v = (into_chunks(x, size) for x in (q, k, v))
    scores = channel_scores(q, k, g) if per_channel else (q @ k.mT) * between(g.squeeze(-1))
    left = since_start(g)
    starts, end = _states((k * until_end(g)).mT @ v, left[..., -1:, :].mT, state)
    return from_chunks(scores @ v + (q * left) @ starts, time), end


def channel_scores(q: Tensor, k: Tensor, log_decay: Tensor) -> Tensor:
    """Return the sum over channels of q_t k_i times the decay between i and t, as `[..., size, size]`.

    It is built up by doubling. Each half of a segment knows its own scores. What the later half reads of the earlier
    half has decayed from its token to the middle and then from the middle on, which is a product of matrices.

    Args:
        q, k, log_decay: `[..., size, channels]`; size is a power of 2.
    """
    blocks = torch.broadcast_tensors((q * k).sum(-1), log_decay[..., 0])[0][..., None, None]
    half = 1
    while half < q.shape[-2]:
        halves = [x.unflatten(-2, (-1, 2, half)).unbind(-3) for x in (q, k, log_decay)]
        (_, later), (earlier, _), (first, second) = halves
        blocks = join(blocks, (later * since_start(second)) @ (earlier * until_end(first)).mT)
        half *= 2
    return blocks.squeeze(-3)


def _states(writes: Tensor, decays: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return the state that each chunk starts with, `[batch, heads, chunks, d_k, d_v]`, and the one after the last."""
    starts = []
    for write, decay in zip(writes.unbind(2), decays.unbind(2), strict=True):
        starts.append(state)
        state = decay * state + write
    return torch.stack(starts, 2), state
