from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from titans.cost import forward_flops, parameters, state_bytes, train_flops_per_token
from titans.models.config import MacConfig, MemoryConfig, ModelConfig
from titans.models.language_model import LanguageModel

VARIANTS = ["lmm", "mac", "mag", "mal", "transformer"]
MEMORIES = [
    MemoryConfig(depth=1, chunk_size=4),
    MemoryConfig(depth=2, expansion=3, chunk_size=8, momentum=False),
    MemoryConfig(depth=4, expansion=2, chunk_size=4, forgetting=False, gates_per_layer=False),
    MemoryConfig(depth=2, chunk_size=8, gate_channels="alpha", gain="fast", update_every=2),
    MemoryConfig(depth=3, expansion=1, chunk_size=4, gate_channels="all", written="last", gain="learned"),
    MemoryConfig(depth=2, chunk_size=4, read="chunk", initial="frozen"),
    MemoryConfig(depth=2, chunk_size=4, read_norm=False, output_gate="head"),
    MemoryConfig(depth=1, chunk_size=4, output_gate="none"),
]
MACS = [
    MacConfig(long_term_tokens=3), MacConfig(order="write_first", write="input"), MacConfig(read="start", reset=True),
]  # fmt: skip


def _configs():
    for variant in VARIANTS:
        for memory in MEMORIES if variant != "transformer" else MEMORIES[:1]:
            for persistent, conv in ((0, 1), (5, 4)):
                yield _config(variant, memory, persistent_tokens=persistent, conv_width=conv)
    for mac in MACS:
        yield _config("mac", MEMORIES[1], mac=mac, combine="product", persistent_written=True)
        yield _config("mac", MEMORIES[-2], mac=mac)
    yield _config("mag", MEMORIES[1], persistent_written=False, combine="sigmoid")
    yield _config("lmm", MEMORIES[0], tied=True)


def _config(variant, memory, **others):
    return ModelConfig(variant=variant, dim=32, heads=2, segment=16, window=12, memory=memory, **others)


CONFIGS = list(_configs())


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_parameters_equal_those_of_the_module(config):
    assert parameters(config) == sum(p.numel() for p in LanguageModel(config).parameters() if p.requires_grad)


def test_flops_of_a_linear_memory_at_chunk_1_are_the_counted_ones_and_the_triangular_systems():
    config = ModelConfig(
        variant="lmm", dim=32, heads=2, persistent_tokens=0, memory=MemoryConfig(depth=1, chunk_size=1, residual=False)
    )
    with FlopCounterMode(display=False) as counter:  # which does not know triangular systems
        LanguageModel(config)(torch.zeros(3, 100, dtype=torch.long))
    systems = 64 * 63 // 2 + 36 * 35 // 2
    solved = 2 * config.blocks * 3 * config.heads * systems * config.head_dim
    assert forward_flops(config, length=100, batch=3) == counter.get_total_flops() + solved


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_flops_equal_the_counted_ones(config):
    tokens = torch.zeros(3, 37, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the counter knows no fused form
        LanguageModel(config)(tokens)
    assert forward_flops(config, length=37, batch=3) == counter.get_total_flops()


def test_training_is_three_forward_passes():
    config = ModelConfig()
    assert train_flops_per_token(config, 64, 2) == 3 * forward_flops(config, 64, 2) // 128


def test_only_the_transformers_state_grows_with_length():
    for variant in VARIANTS:
        config = ModelConfig(variant=variant)
        assert (state_bytes(config, 2048) > state_bytes(config, 1024)) == (variant == "transformer")
