"""Apply `train.precision`, in training and in checks of trained models."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def products_in(name: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which matrix products have a precision. Parameters and the memory's state keep theirs."""
    return torch.autocast(device.type, torch.bfloat16) if name == "bfloat16" else nullcontext()
