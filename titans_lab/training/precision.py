"""What `train.precision` means, for the trainer and for whoever checks what it trains."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def products_in(name: str, device: torch.device) -> AbstractContextManager[Any]:
    """A forward pass in "bfloat16" has its products in that; its parameters and memory are what they were."""
    return torch.autocast(device.type, torch.bfloat16) if name == "bfloat16" else nullcontext()
