"""The delta rule with momentum, chunk by chunk: one triangular system, as for the delta rule without.

A token's surprise delta is linear in the earlier ones of its chunk. The share of delta_i in S_t is C[t, i], with
C = A diag(b) M: a product of two decays, summed over the tokens at which the momentum was added, where A and M are the
decays of state and momentum between two tokens. start and drift are the shares of S_0 and M_0 in S_t. With primes for
the token before,

    (I + C'[t, i] p_t . (eta_i k_i)) delta = V - (start' P) S_0 - (drift' P) M_0
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.arguments import check_log_decay, check_streams, expect
from titans.ops.chunks import CHUNK, between, from_chunks, into_chunks, since_start, solved
from titans.ops.fla import KernelName, uses_fla


def momentum_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    p: Tensor,
    eta: Tensor,
    beta: Tensor,
    log_momentum: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    chunk_size: int = CHUNK,
    kernel: KernelName = "auto",
) -> tuple[Tensor, Tensor]:
    """Run M_t = m M_{t-1} + eta k (v - p^T S_{t-1})^T and S_t = a S_{t-1} + b M_t, and read y_t = S_t^T q_t.

    A sequence can be cut anywhere: its parts, with the state passed on, give the outputs of the whole. Queries are not
    scaled and keys are not normalised.

    Args:
        q, k, p: `[batch, heads, time, d_k]`.
        v: `[batch, heads, time, d_v]`.
        eta, beta: The step size, and b, `[batch, heads, time]`.
        log_momentum, log_decay: log m and log a, at most 0, `[batch, heads, time]`.
        state: S and M, `[batch, heads, 2, d_k, d_v]`. None: zeros.
        chunk_size: Tokens that are computed together. It changes only the speed.
        kernel: "torch" or "auto", which is torch. "fla" warns and runs in torch.

    Returns:
        y `[batch, heads, time, d_v]`, and the state after the last token.

    Raises:
        ValueError: An argument does not fit; the message names it.
    """
    _check(q, k, v, p, eta, beta, log_momentum, log_decay, state, chunk_size)
    uses_fla(kernel, v, k.shape[-1], lack="flash-linear-attention has no kernel for it in float32")
    if state is None:
        state = v.new_zeros(*v.shape[:2], 2, k.shape[-1], v.shape[-1])
    time, size = v.shape[2], min(chunk_size, v.shape[2])
    given = (q, eta.unsqueeze(-1) * k, v, p, beta, log_momentum, log_decay)
    q, k, v, p, b, log_m, log_a = (into_chunks(x, size) for x in given)
    of_momentum, momentum_left = between(log_m), since_start(log_m.unsqueeze(-1))
    added = between(log_a) * b.unsqueeze(-2)
    mask, left = added @ of_momentum, torch.cat((since_start(log_a.unsqueeze(-1)), added @ momentum_left), -1)
    before = F.pad(left[..., :-1, :], (0, 0, 1, 0)) + F.pad(torch.ones_like(left[..., :1, :1]), (0, 1, 0, size - 1))
    u, w = solved(F.pad(mask, (0, 0, 1, 0))[..., :-1, :] * (p @ k.mT), v, _of_both(p, before))
    keys = torch.cat((mask[..., -1:, :].mT * k, of_momentum[..., -1:, :].mT * k), -1).mT
    starts, deltas, end = _states(u, w, keys, left[..., -1, :], momentum_left[..., -1, :], state.flatten(2, 3))
    y = (q @ k.mT * mask) @ deltas + _of_both(q, left) @ starts
    return from_chunks(y, time), end.unflatten(2, (2, -1))


def _of_both(x: Tensor, left: Tensor) -> Tensor:
    """Return x `[..., size, d_k]` times what is left of S, then of M, `[..., size, 2]`, as `[..., size, 2 d_k]`."""
    return (left.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)


def _states(
    u: Tensor, w: Tensor, keys: Tensor, left: Tensor, momentum_left: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return S and M that each chunk starts with, its surprises, and S and M after the last chunk.

    Args:
        u, w: The surprises are u - w (S, M), `[batch, heads, chunks, size, d_v or 2 d_k]`.
        keys: What the surprises are written with to S and to M, `[..., 2 d_k, size]`.
        left: How much of S and of M is left in S after the chunk, `[..., 2]`.
        momentum_left: How much of M is left in M, `[..., 1]`.
        state: S and M, one below the other, `[batch, heads, 2 d_k, d_v]`.
    """
    starts, deltas = [], []
    chunks = (x.unbind(2) for x in (u, w, keys, left, momentum_left))
    for u_n, w_n, k_n, left_n, momentum_n in zip(*chunks, strict=True):
        starts.append(state)
        deltas.append(u_n - w_n @ state)
        s, m = state.unflatten(2, (2, -1)).unbind(2)
        of_s, of_m = left_n[..., None, None].unbind(2)
        kept = torch.cat((of_s * s + of_m * m, momentum_n.unsqueeze(-1) * m), 2)
        state = kept + k_n @ deltas[-1]
    return torch.stack(starts, 2), torch.stack(deltas, 2), state


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    p: Tensor,
    eta: Tensor,
    beta: Tensor,
    log_momentum: Tensor,
    log_decay: Tensor,
    state: Tensor | None,
    chunk_size: int,
) -> None:
    """Raise a `ValueError` unless all fit v `[batch, heads, time, d_v]`."""
    check_streams(q, k, v, None)
    check_log_decay(log_decay, v)
    check_log_decay(log_momentum, v, name="log_momentum")
    expect("p", p, v, *k.shape)
    for name, gate in (("eta", eta), ("beta", beta)):
        expect(name, gate, v, *v.shape[:3])
    if state is not None:
        expect("state", state, v, *v.shape[:2], 2, k.shape[-1], v.shape[-1])
    if chunk_size < 1:
        raise ValueError(f"chunk_size: {chunk_size} is below 1")
