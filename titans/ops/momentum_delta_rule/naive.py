"""The reference implementation of the delta rule with momentum: token by token, as the paper prints it."""

from __future__ import annotations

import torch
from torch import Tensor


def naive_momentum_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    p: Tensor,
    eta: Tensor,
    beta: Tensor,
    log_momentum: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the rule. Arguments and result are those of `momentum_delta_rule`, v `[batch, heads, time, d_v]`."""
    if state is None:
        state = torch.zeros(*v.shape[:2], 2, k.shape[-1], v.shape[-1], dtype=v.dtype, device=v.device)
    s, m = state.unbind(2)
    outputs = []
    for t in range(v.shape[2]):
        a, b, mu = (x[:, :, t, None, None] for x in (log_decay.exp(), beta, log_momentum.exp()))
        surprise = v[:, :, t, None, :] - p[:, :, t, None, :] @ s
        m = mu * m + eta[:, :, t, None, None] * k[:, :, t, :, None] @ surprise
        s = a * s + b * m
        outputs.append((q[:, :, t, None, :] @ s).squeeze(-2))
    return torch.stack(outputs, 2), torch.stack((s, m), 2)
