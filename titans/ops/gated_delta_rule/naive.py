"""The reference implementation of the delta rule with decay: token by token, as the papers print it."""

from __future__ import annotations

import torch
from torch import Tensor


def naive_gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run the rule. Arguments and result are those of `gated_delta_rule`, v `[batch, heads, time, d_v]`."""
    identity = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)
    if state is None:
        state = torch.zeros(*v.shape[:2], k.shape[-1], v.shape[-1], dtype=v.dtype, device=v.device)
    outputs = []
    for t in range(v.shape[2]):
        k_t, b_t = k[:, :, t, :, None], beta[:, :, t, None, None]
        if log_decay is not None:
            state = log_decay[:, :, t, None, None].exp() * state
        state = (identity - b_t * k_t @ k_t.mT) @ state + b_t * k_t @ v[:, :, t, None, :]
        outputs.append((q[:, :, t, None, :] @ state).squeeze(-2))
    return torch.stack(outputs, 2), state
