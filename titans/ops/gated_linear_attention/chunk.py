"""Linear attention with decay, by chunks: attention inside a chunk, a state between chunks (arXiv 2312.06635)."""

from __future__ import annotations

from torch import Tensor

from titans.ops.arguments import check_log_decay, check_streams
from titans.ops.chunks import (
    CHUNK,
    decayed_scores,
    empty_state,
    from_chunks,
    into_chunks,
    since_start,
    states_between,
    until_end,
    whole_chunk,
)
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

    A sequence can be cut anywhere: its parts, with the state passed on, give the outputs of the whole. Queries are not
        scaled.

    Args:
        q, k: `[batch, heads, time, d_k]`. One head broadcasts to all heads of v.
        v: `[batch, heads, time, d_v]`.
        log_decay: At most 0; -inf forgets everything before the token. `[batch, heads, time]`, or with a decay for
            each channel of the keys `[batch, heads, time, d_k]`. A batch or head dimension of 1 broadcasts. None: no
            decay.
        state: `[batch, heads, d_k, d_v]`. None: zeros.
        chunk_size: Tokens that are computed together; with decays per channel, the next power of 2. It changes
            only the speed.
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
    g = v.new_zeros(1, 1, time, 1) if log_decay is None else log_decay if per_channel else log_decay.unsqueeze(-1)
    size = whole_chunk(chunk_size, g)
    q, k, v, g = (into_chunks(x, size) for x in (q, k, v, g))
    left = since_start(g)
    starts, end = states_between((k * until_end(g)).mT @ v, left[..., -1:, :].mT, state)
    return from_chunks(decayed_scores(g)(q, k) @ v + (q * left) @ starts, time), end
