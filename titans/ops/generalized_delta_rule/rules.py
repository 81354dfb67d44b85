"""The delta rules by name: their checks, and their calls of the chunk form or of flash-linear-attention's kernels.

In all of them y_t = S_t^T q_t. A sequence can be cut anywhere: its parts, with the state passed on, give the outputs of
the whole. Queries are not scaled and keys are not normalised. Each function takes, after its tensors,

    state: `[batch, heads, d_k, d_v]`. None: zeros.
    chunk_size: Tokens that are computed together; with decays per channel, the next power of 2. It changes only
        the speed.
    kernel: "torch", "fla" (see `titans.ops.fla`), or "auto", which is torch.

and returns y `[batch, heads, time, d_v]` and the state after the last token. It raises `ValueError`, which names the
argument, where one does not fit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from titans.ops.arguments import check_log_decay, check_streams, expect
from titans.ops.chunks import CHUNK, empty_state
from titans.ops.fla import KernelName, call_fla, uses_fla
from titans.ops.generalized_delta_rule.chunk import delta_rule_by_chunks


def kda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    chunk_size: int = CHUNK,
    kernel: KernelName = "auto",
) -> tuple[Tensor, Tensor]:
    """Run Kimi delta attention (arXiv 2510.26692): S_t = (I - b k k^T) diag(a) S_{t-1} + b k v^T.

    Args:
        q, k: `[batch, heads, time, d_k]`.
        v: `[batch, heads, time, d_v]`.
        beta: b, `[batch, heads, time]`.
        log_decay: log a, at most 0, `[batch, heads, time, d_k]`.
        state, chunk_size, kernel: See the module.
    """
    state = _checked(q, k, v, log_decay, k.shape[-1:], state, chunk_size)
    expect("beta", beta, v, *v.shape[:3])
    if uses_fla(kernel, v, k.shape[-1]):
        return call_fla("kda", "chunk_kda", state, q=q, k=k, v=v, g=log_decay, beta=beta)
    b = beta.unsqueeze(-1)
    return delta_rule_by_chunks(q, _step(k), _step(b * v), _step(b * k), log_decay, state, chunk_size)


def gated_delta_rule_2(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    erase: Tensor,
    write: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    chunk_size: int = CHUNK,
    kernel: KernelName = "auto",
) -> tuple[Tensor, Tensor]:
    """Run Gated DeltaNet-2 (arXiv 2605.22791): S_t = (I - k (b * k)^T) diag(a) S_{t-1} + k (w * v)^T.

    Args:
        q, k: `[batch, heads, time, d_k]`.
        v: `[batch, heads, time, d_v]`.
        erase: b, `[batch, heads, time, d_k]`.
        write: w, `[batch, heads, time, d_v]`.
        log_decay: log a, at most 0, `[batch, heads, time, d_k]`.
        state, chunk_size, kernel: See the module.
    """
    state = _checked(q, k, v, log_decay, k.shape[-1:], state, chunk_size)
    expect("erase", erase, v, *v.shape[:3], k.shape[-1])
    expect("write", write, v, *v.shape)
    if uses_fla(kernel, v, k.shape[-1]):
        return call_fla("gdn2", "chunk_gdn2", state, q=q, k=k, v=v, g=log_decay, b=erase, w=write)
    return delta_rule_by_chunks(q, _step(k), _step(write * v), _step(erase * k), log_decay, state, chunk_size)


def gated_delta_product(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    chunk_size: int = CHUNK,
    kernel: KernelName = "auto",
) -> tuple[Tensor, Tensor]:
    """Run Gated DeltaProduct (arXiv 2502.10297): S = a S_{t-1}, then for each step S = (I - b k k^T) S + b k v^T.

    Args:
        q: `[batch, heads, time, d_k]`.
        k, v: The key and the value of each step, `[batch, heads, time, steps, d_k or d_v]`.
        beta: b of each step, `[batch, heads, time, steps]`.
        log_decay: log a, at most 0, `[batch, heads, time]`.
        state, chunk_size, kernel: See the module. "fla" warns and runs in torch.
    """
    if k.dim() != 5 or v.dim() != 5:
        raise ValueError(f"k, v: expected [batch, heads, time, steps, dim], got {list(k.shape)} and {list(v.shape)}")
    state = _checked(q, k[..., 0, :], v[..., 0, :], log_decay, (), state, chunk_size)
    expect("v", v, v, *k.shape[:4], v.shape[-1])
    expect("beta", beta, v, *v.shape[:4])
    uses_fla(kernel, v[..., 0, :], k.shape[-1], lack="its kernel of flash-linear-attention does not take float32")
    b = beta.unsqueeze(-1)
    return delta_rule_by_chunks(q, k, b * v, b * k, log_decay, state, chunk_size)


def comba(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    p: Tensor,
    beta: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    chunk_size: int = CHUNK,
    kernel: KernelName = "auto",
) -> tuple[Tensor, Tensor]:
    """Run Comba (arXiv 2506.02475): S_t = (a - b k p^T) S_{t-1} + b k v^T.

    Args:
        q, k, p: `[batch, heads, time, d_k]`.
        v: `[batch, heads, time, d_v]`.
        beta: b, `[batch, heads, time]`.
        log_decay: log a, at most 0, `[batch, heads, time]`.
        state, chunk_size, kernel: See the module.
    """
    state = _checked(q, k, v, log_decay, (), state, chunk_size)
    expect("p", p, v, *v.shape[:3], k.shape[-1])
    expect("beta", beta, v, *v.shape[:3])
    if uses_fla(kernel, v, k.shape[-1]):
        return call_fla("comba", "chunk_comba", state, q=q, k=k, v=v, p=p, g=log_decay, beta=beta)
    b = beta.unsqueeze(-1)
    return delta_rule_by_chunks(q, _step(k), _step(b * v), _step(b * p), log_decay, state, chunk_size, early=True)


def rwkv7(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    removed: Tensor,
    rate: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    chunk_size: int = CHUNK,
    kernel: KernelName = "auto",
) -> tuple[Tensor, Tensor]:
    """Run RWKV-7 (arXiv 2503.14456): S_t = (diag(a) - (b * r) r^T) S_{t-1} + k v^T.

    Args:
        q, k: The receptance and the replacement key, `[batch, heads, time, d_k]`.
        v: `[batch, heads, time, d_v]`.
        removed: r, the removal key, `[batch, heads, time, d_k]`.
        rate: b, the in-context learning rate, `[batch, heads, time, d_k]`.
        log_decay: log a, at most 0, `[batch, heads, time, d_k]`. The kernels of flash-linear-attention are made
            for at least -0.607, RWKV-7's fastest decay.
        state, chunk_size, kernel: See the module.
    """
    state = _checked(q, k, v, log_decay, k.shape[-1:], state, chunk_size)
    for name, x in (("removed", removed), ("rate", rate)):
        expect(name, x, v, *v.shape[:3], k.shape[-1])
    written = rate * removed
    if uses_fla(kernel, v, k.shape[-1]):
        return call_fla("rwkv7", "chunk_rwkv7", state, r=q, w=log_decay, k=k, v=v, a=-removed, b=written)
    steps = (_step(written), _step(torch.zeros_like(v)), _step(removed))
    return delta_rule_by_chunks(q, *steps, log_decay, state, chunk_size, early=True, added=(k, v))


def _checked(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, channels: tuple[int, ...], state: Tensor | None, chunk_size: int
) -> Tensor:
    """Check what all rules have, k and v `[batch, heads, time, d_k or d_v]`, and return the state to start from."""
    check_streams(q, k, v, state)
    check_log_decay(log_decay, v, *channels)
    if chunk_size < 1:
        raise ValueError(f"chunk_size: {chunk_size} is below 1")
    return empty_state(k, v) if state is None else state


def _step(x: Tensor) -> Tensor:
    """Return `[batch, heads, time, dim]` as the only step of each token, `[batch, heads, time, 1, dim]`."""
    return x.unsqueeze(3)
