"""The reference implementation of log-linear attention: token by token, with the state of every level."""

from __future__ import annotations

import torch
from torch import Tensor


def naive_log_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scales: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    position: int = 0,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence. Arguments and result are those of `log_linear_attention`, v `[batch, heads, time, d_v]`."""
    levels = scales.shape[-1]
    if state is None:
        state = torch.zeros(*v.shape[:2], levels, k.shape[-1], v.shape[-1], dtype=v.dtype, device=v.device)
    outputs = []
    for t in range(v.shape[2]):
        own = k[:, :, t, :, None] * v[:, :, t, None, :]
        by_level = [log_decay[:, :, t, None, None].exp() * part for part in state.unbind(2)]
        by_level[0] = by_level[0] + own
        read = torch.stack([(q[:, :, t, None, :] @ part).squeeze(-2) for part in by_level], -1)
        outputs.append((read * scales[:, :, t, None, :]).sum(-1))
        joined = min(((position + t) ^ (position + t + 1)).bit_length(), levels - 1)  # levels up to it become it
        total = sum(by_level[: joined + 1], torch.zeros_like(own))
        by_level[: joined + 1] = [torch.zeros_like(total)] * joined + [total]
        state = torch.stack(by_level, 2)
    return torch.stack(outputs, 2), state
