"""The delta rule with decay, chunk by chunk: the generalized delta rule whose erased key is its written key."""

from __future__ import annotations

from torch import Tensor

from titans.ops.arguments import check_log_decay, check_streams, expect
from titans.ops.chunks import CHUNK, empty_state
from titans.ops.fla import KernelName, fla_delta_rule, uses_fla
from titans.ops.generalized_delta_rule.chunk import delta_rule_by_chunks


def gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor | None = None,
    state: Tensor | None = None,
    *,
    chunk_size: int = CHUNK,
    kernel: KernelName = "auto",
) -> tuple[Tensor, Tensor]:
    """Run S_t = a_t (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T and y_t = S_t^T q_t, with a_t = exp(log_decay_t).

    A sequence can be cut anywhere: its parts, with the state passed on, give the outputs of the whole. Queries are not
    scaled and keys are not normalised. The state stays bounded where b_t |k_t|^2 is at most 2.

    Args:
        q, k: `[batch, heads, time, d_k]`. One head broadcasts to all heads of v.
        v: `[batch, heads, time, d_v]`.
        beta: The share of what a key finds that is replaced, `[batch, heads, time]`; 1 replaces all for a key of
            length 1.
        log_decay: At most 0, `[batch, heads, time]`; -inf forgets everything before the token. A batch or head
            dimension of 1 broadcasts. None: no decay.
        state: `[batch, heads, d_k, d_v]`. None: zeros.
        chunk_size: Tokens that are computed together. It changes only the speed.
        kernel: "torch", "fla" (see `titans.ops.fla`), or "auto", which is torch.

    Returns:
        y `[batch, heads, time, d_v]`, and the state after the last token.

    Raises:
        ValueError: An argument does not fit; the message names it.
    """
    check_streams(q, k, v, state)
    check_log_decay(log_decay, v)
    expect("beta", beta, v, *v.shape[:3])
    if chunk_size < 1:
        raise ValueError(f"chunk_size: {chunk_size} is below 1")
    state = empty_state(k, v) if state is None else state
    if uses_fla(kernel, v, k.shape[-1]):
        return fla_delta_rule(q, k, v, beta, log_decay, state)
    if log_decay is None:
        log_decay = v.new_zeros(1, 1, v.shape[2])
    b = beta.unsqueeze(-1)
    keys, values, erased = (x.unsqueeze(3) for x in (k, b * v, b * k))
    return delta_rule_by_chunks(q, keys, values, erased, log_decay, state, chunk_size)
