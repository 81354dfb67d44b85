"""The reference implementation of the mesa layer: token by token, with an exact solution of each system."""

from __future__ import annotations

import torch
from torch import Tensor


def naive_mesa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    ridge: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the layer. Arguments and result are those of `mesa`, v `[batch, heads, time, d_v]`."""
    d_k = k.shape[-1]
    if state is None:
        state = torch.zeros(*v.shape[:2], d_k, d_k + v.shape[-1], dtype=v.dtype, device=v.device)
    outputs = []
    for t in range(v.shape[2]):
        written = beta[:, :, t, None, None] * k[:, :, t, :, None] * torch.cat((k, v), -1)[:, :, t, None, :]
        state = log_decay[:, :, t, None, None].exp() * state + written
        of_keys, of_values = state[..., :d_k], state[..., d_k:]
        solution = torch.linalg.solve(of_keys + torch.diag_embed(ridge), q[:, :, t])
        outputs.append((solution.unsqueeze(-2) @ of_values).squeeze(-2))
    return torch.stack(outputs, 2), state
