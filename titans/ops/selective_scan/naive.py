"""The reference implementation of the selective state space: token by token."""

from __future__ import annotations

import torch
from torch import Tensor


def naive_selective_scan(
    x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run the scan. Arguments and result are those of `selective_scan`, x `[batch, time, channels]`."""
    h = x.new_zeros(x.shape[0], *a.shape) if state is None else state
    outputs = []
    for t in range(x.shape[1]):
        step = delta[:, t, :, None]
        h = torch.exp(step * a) * h + step * x[:, t, :, None] * b[:, t, None, :]
        outputs.append((h * c[:, t, None, :]).sum(-1))
    return torch.stack(outputs, 1), h
