"""The variants by what they have, and small models of each."""

from __future__ import annotations

from typing import Any, get_args

from titans.models.config import ModelConfig, Variant, pattern, reads

VARIANTS: tuple[Variant, ...] = get_args(Variant)


def of_variant(variant: Variant, **values: Any) -> ModelConfig:
    """With a block for each of its mixers, and at least so many as are asked for."""
    blocks = max(values.pop("n_layers", 2), len(pattern(variant)))
    return ModelConfig(variant=variant, n_layers=blocks, **values)


#: Those with the long-term memory of the section `memory`.
WITH_MEMORY = tuple(variant for variant in VARIANTS if "memory.depth" in reads(variant))
#: Those whose state grows with the sequence.
GROWING = {"transformer"}
