"""The reference implementation of sliding-window attention: one masked product over all pairs of tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def naive_window_attention(
    q: Tensor, k: Tensor, v: Tensor, window: int, prefix: tuple[Tensor, Tensor, Tensor] | None = None
) -> Tensor:
    """Attend to a window of tokens, q `[batch, heads, time, dim]`; arguments and result as in `window_attention`."""
    i = torch.arange(q.shape[2], device=q.device)
    distance = i[:, None] - i[None, :]
    scores = (q @ k.mT).masked_fill((distance < 0) | (distance >= window), float("-inf"))
    if prefix is not None:
        q_prefix, k_prefix, v_prefix = prefix
        scores = torch.cat((q_prefix @ k_prefix.mT, scores), -1)
        v = torch.cat((v_prefix.expand(q.shape[0], -1, -1, -1), v), 2)
    return torch.softmax(scores * q.shape[-1] ** -0.5, -1) @ v
