"""The variants by what they have, and small models of each."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from titans.mixers import registry
from titans.models.config import ModelConfig, reads

VARIANTS = registry.variants()
SPECS = {name: registry.spec(name) for name in VARIANTS}


def of_variant(variant: str, **values: Any) -> ModelConfig:
    """Return the configuration of a variant, with a block for each of its mixers at least."""
    blocks = max(values.pop("n_layers", 2), len(SPECS[variant].pattern))
    return ModelConfig(variant=variant, n_layers=blocks, **values)


#: Those with the long-term memory of the section `memory`.
WITH_MEMORY = tuple(variant for variant in VARIANTS if "memory.depth" in reads(variant))
#: Those with attention, full or over a window, in one of their blocks at least.
WITH_ATTENTION = tuple(variant for variant in VARIANTS if "attention_conv_size" in reads(variant))
#: Those whose state grows with the sequence.
GROWING = {name for name, spec in SPECS.items() if any(registry.mixer(each).state_grows for each in spec.pattern)}


@torch.no_grad()
def away_from_zero(model: nn.Module) -> nn.Module:
    """Move each tensor that starts as zeros, as RWKV-7's output matrix is published: it stops gradients for a step."""
    for p in model.parameters():
        if not p.any():
            p.add_(0.1 * torch.randn_like(p))
    return model
