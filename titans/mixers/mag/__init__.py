"""Memory as gate (MAG): sliding-window attention and the memory side by side."""

from __future__ import annotations

from titans.mixers.attention_cost import ATTENTION_READS, attention_parameters, window_products, window_state
from titans.mixers.lmm import (
    READS,
    canonical_persistent,
    lmm_parameters,
    memory_products,
    memory_state,
    persistent_products,
    torch_only,
    writes_persistent,
)
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

WRITES_PERSISTENT = True  # the default of `persistent_written`: the paper's sequence begins with these tokens


def _parameters(config: ModelConfig) -> int:
    norms = 2 if config.combine == "norm_sigmoid" else 0
    return lmm_parameters(config) + attention_parameters(config) + norms * config.dim


def parallel_products(config: ModelConfig, length: int, batch: int) -> int:
    """Return the multiply-adds of the memory and the window, of mag and mal alike."""
    start = persistent_products(config) if writes_persistent(config, WRITES_PERSISTENT) else 0
    attention = window_products(config, length, batch, config.persistent_tokens)
    return start + memory_products(config, length, batch) + attention


def parallel_state(config: ModelConfig, length: int) -> int:
    """Return the numbers in the states of the memory and the window, of mag and mal alike."""
    return memory_state(config) + window_state(config, length)


MIXER = MixerSpec(
    name="mag",
    family="Titans",
    summary="memory as gate: sliding-window attention times the memory",
    source="Titans (arXiv 2501.00663), section 4.2",
    layer="titans.mixers.mag.layer:MemoryAsGate",
    state="titans.mixers.mag.layer:GateStream",
    torch_only=torch_only,
    reads=READS | ATTENTION_READS | {"persistent_written", "combine", "window"},
    head_multiple=2,
    canonical=lambda config, values: canonical_persistent(config, values, WRITES_PERSISTENT),
    reference="titans.mixers.lmm.layer:write_token_by_token",
    parameters=_parameters,
    multiply_adds=parallel_products,
    state_size=parallel_state,
    golden_loss=6.252143,
)
