"""The delta rule with decay, chunk by chunk: the WY form of a product of Householder-like maps (arXiv 2406.06484).

What a token writes, delta_t = b_t (v_t - a_t S_{t-1}^T k_t), depends on what earlier tokens of the chunk wrote. With
M[t, i] the decay between two tokens and G_t the decay since the chunk's start, a chunk is one triangular system:

    (I + diag(b) strict(M * K K^T)) delta = diag(b) (V - diag(G) K S)

It is solved for V and for diag(G) K before S is known: delta = U - W S.
"""

from __future__ import annotations

import torch
from torch import Tensor

from titans.ops.arguments import check_log_decay, check_streams, expect
from titans.ops.chunks import CHUNK, between, empty_state, from_chunks, into_chunks, since_start, until_end
from titans.ops.fla import KernelName, fla_delta_rule, uses_fla


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

    A sequence that is cut anywhere, with the state handed on, gives the same as the whole. Queries are not scaled and
    keys are not normalised. The state stays bounded where b_t |k_t|^2 is at most 2.

    Args:
        q, k: `[batch, heads, time, d_k]`. One head serves all of v's.
        v: `[batch, heads, time, d_v]`.
        beta: The share of what a key finds that is replaced, `[batch, heads, time]`; 1 replaces all for a key of
            length 1.
        log_decay: At most 0, `[batch, heads, time]`; -inf forgets everything before the token. A batch or heads of 1
            serve all. None: no decay.
        state: `[batch, heads, d_k, d_v]`. None: zeros.
        chunk_size: Tokens that are computed together. It changes the speed alone.
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
    time = v.shape[2]
    log_decay = v.new_zeros(1, 1, time) if log_decay is None else log_decay
    q, k, v, b, g = (into_chunks(x, min(chunk_size, time)) for x in (q, k, v, beta.unsqueeze(-1), log_decay))
    mask, g = between(g), g.unsqueeze(-1)
    left = since_start(g)
    u, w = _solved(b * mask * (k @ k.mT), b * v, b * left * k)
    starts, deltas, end = _states(u, w, (k * until_end(g)).mT, left[..., -1:, :], state)
    return from_chunks((q @ k.mT * mask) @ deltas + (q * left) @ starts, time), end


def _solved(system: Tensor, values: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return U and W: the solutions for values and keys of the unit triangular system below the diagonal."""
    sides = torch.cat((values, keys), -1)
    solved = torch.linalg.solve_triangular(system, sides, upper=False, unitriangular=True)
    return solved.split((values.shape[-1], keys.shape[-1]), -1)


def _states(u: Tensor, w: Tensor, k: Tensor, decays: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the state that each chunk starts with, what its tokens write, and the state after the last chunk."""
    starts, deltas = [], []
    for u_n, w_n, k_n, decay in zip(*(x.unbind(2) for x in (u, w, k, decays)), strict=True):
        starts.append(state)
        deltas.append(u_n - w_n @ state)
        state = decay * state + k_n @ deltas[-1]
    return torch.stack(starts, 2), torch.stack(deltas, 2), state
