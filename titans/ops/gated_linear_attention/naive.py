"""The reference implementation of linear attention with decay: token by token."""

from __future__ import annotations

import torch
from torch import Tensor


def naive_gated_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run the recurrence. Arguments and result are those of `gated_linear_attention`, v `[batch, heads, time, d_v]`."""
    if state is None:
        state = torch.zeros(*v.shape[:2], k.shape[-1], v.shape[-1], dtype=v.dtype, device=v.device)
    outputs = []
    for t in range(v.shape[2]):
        if log_decay is not None:
            decay = log_decay[:, :, t].exp()
            state = (decay if decay.dim() == 3 else decay.unsqueeze(-1)).unsqueeze(-1) * state
        state = state + k[:, :, t, :, None] * v[:, :, t, None, :]
        outputs.append((q[:, :, t, :, None] * state).sum(-2))
    return torch.stack(outputs, 2), state
