"""The initial values of a model, which depend on (seed, tensor name) alone."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Draw every matrix from a normal distribution of its own, by (seed, tensor name); gains and biases stay as built.

    The deviation is fan_in^-1/2, unless the module that holds the tensor names another in its `init_std`.
    """
    for path, module in model.named_modules():
        for name, tensor in module.named_parameters(recurse=False):
            if tensor.ndim < 2 or not tensor.numel():
                continue
            std = 1.0 if isinstance(module, nn.Embedding) else tensor.shape[-1] ** -0.5
            std = getattr(module, "init_std", {}).get(name, std)
            digest = hashlib.sha256(f"{seed}:{path}.{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
            values = torch.randn(tensor.shape, generator=generator, dtype=torch.float32)
            tensor.copy_(std * values)
