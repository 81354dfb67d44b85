"""The reference implementations of the delta rules: token by token, each as its paper prints it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def naive_kda(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run arXiv 2510.26692, eq. 1: S_t = (I - b k k^T) diag(a) S_{t-1} + b k v^T. See `kda` for the shapes `[...]`."""

    def step(state: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor) -> Tensor:
        """Return the state `[..., d_k, d_v]` after a token with keys `[..., d_k]` and values `[..., d_v]`."""
        b = beta[..., None, None]
        return (_identity(k) - b * _outer(k, k)) @ _decayed(state, log_decay) + b * _outer(k, v)

    return _recur(step, q, state, k, v, beta, log_decay)


def naive_gated_delta_rule_2(
    q: Tensor, k: Tensor, v: Tensor, erase: Tensor, write: Tensor, log_decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run arXiv 2605.22791: S_t = (I - k (b * k)^T) diag(a) S_{t-1} + k (w * v)^T.

    See `gated_delta_rule_2` for the shapes `[...]`.
    """

    def step(state: Tensor, k: Tensor, v: Tensor, b: Tensor, w: Tensor, log_decay: Tensor) -> Tensor:
        """Return the state `[..., d_k, d_v]` after a token with keys `[..., d_k]` and values `[..., d_v]`."""
        return (_identity(k) - _outer(k, b * k)) @ _decayed(state, log_decay) + _outer(k, w * v)

    return _recur(step, q, state, k, v, erase, write, log_decay)


def naive_comba(
    q: Tensor, k: Tensor, v: Tensor, p: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run arXiv 2506.02475: S_t = (a - b k p^T) S_{t-1} + b k v^T. See `comba` for the shapes `[...]`."""

    def step(state: Tensor, k: Tensor, v: Tensor, p: Tensor, beta: Tensor, log_decay: Tensor) -> Tensor:
        """Return the state `[..., d_k, d_v]` after a token with keys `[..., d_k]` and values `[..., d_v]`."""
        a, b = log_decay[..., None, None].exp(), beta[..., None, None]
        return (a * _identity(k) - b * _outer(k, p)) @ state + b * _outer(k, v)

    return _recur(step, q, state, k, v, p, beta, log_decay)


def naive_gated_delta_product(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run arXiv 2502.10297: decay by a, then S = (I - b_j k_j k_j^T) S + b_j k_j v_j^T for each step j.

    See `gated_delta_product` for the shapes `[...]`.
    """

    def step(state: Tensor, keys: Tensor, values: Tensor, betas: Tensor, log_decay: Tensor) -> Tensor:
        """Return the state `[..., d_k, d_v]` after a token with keys `[..., d_k]` and values `[..., d_v]`."""
        state = log_decay[..., None, None].exp() * state
        for k, v, beta in zip(keys.unbind(-2), values.unbind(-2), betas.unbind(-1), strict=True):
            b = beta[..., None, None]
            state = (_identity(k) - b * _outer(k, k)) @ state + b * _outer(k, v)
        return state

    return _recur(step, q, state, k, v, beta, log_decay)


def naive_rwkv7(
    q: Tensor, k: Tensor, v: Tensor, removed: Tensor, rate: Tensor, log_decay: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run arXiv 2503.14456: S_t = (diag(a) - (b * r) r^T) S_{t-1} + k v^T. See `rwkv7` for the shapes `[...]`."""

    def step(state: Tensor, k: Tensor, v: Tensor, r: Tensor, b: Tensor, log_decay: Tensor) -> Tensor:
        """Return the state `[..., d_k, d_v]` after a token with keys `[..., d_k]` and values `[..., d_v]`."""
        return (torch.diag_embed(log_decay.exp()) - _outer(b * r, r)) @ state + _outer(k, v)

    return _recur(step, q, state, k, v, removed, rate, log_decay)


def _recur(step: Callable[..., Tensor], q: Tensor, state: Tensor | None, *given: Tensor) -> tuple[Tensor, Tensor]:
    """Return the reads of all tokens of `[batch, heads, time, ...]`, and the state after the last one."""
    k, v = given[:2]
    if state is None:
        state = torch.zeros(*q.shape[:2], k.shape[-1], v.shape[-1], dtype=v.dtype, device=v.device)
    outputs = []
    for t in range(q.shape[2]):
        state = step(state, *(x[:, :, t] for x in given))
        outputs.append((q[:, :, t].unsqueeze(-2) @ state).squeeze(-2))  # S^T q
    return torch.stack(outputs, 2), state


def _decayed(state: Tensor, log_decay: Tensor) -> Tensor:
    """Return diag(a) S for S `[..., d_k, d_v]` and log a `[..., d_k]`."""
    return log_decay.exp().unsqueeze(-1) * state


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """Return a b^T, `[..., d_a, d_b]`."""
    return a.unsqueeze(-1) * b.unsqueeze(-2)


def _identity(k: Tensor) -> Tensor:
    return torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)
