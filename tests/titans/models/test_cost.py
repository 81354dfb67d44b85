from __future__ import annotations

import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from variants import GROWING, SPECS, VARIANTS, WITH_MEMORY, of_variant

from titans.mixers.mac import MacConfig
from titans.mixers.mamba import mamba_sizes
from titans.models.config import MemoryConfig, ModelConfig, RecurrentConfig, reads
from titans.models.cost import forward_flops, parameters, state_bytes, train_flops_per_token
from titans.models.language_model import LanguageModel, use_kernel

MEMORIES = [
    MemoryConfig(depth=1, chunk_size=4),
    MemoryConfig(depth=2, expansion=3, chunk_size=8, momentum=False),
    MemoryConfig(depth=4, expansion=2, chunk_size=4, forgetting=False, gates_per_layer=False),
    MemoryConfig(depth=2, chunk_size=8, gate_channels="alpha", gain="fast", update_every=2),
    MemoryConfig(depth=3, expansion=1, chunk_size=4, gate_channels="all", written="last", gain="learned"),
    MemoryConfig(depth=2, chunk_size=4, read="chunk", initial="frozen"),
    MemoryConfig(depth=2, chunk_size=4, read_norm=False, output_gate="head"),
    MemoryConfig(depth=1, chunk_size=4, output_gate="none"),
    MemoryConfig(depth=2, chunk_size=4, window=3),
    MemoryConfig(depth=2, chunk_size=4, window=7, gates_per_layer=False, update_every=2, objective="huber"),
    MemoryConfig(depth=2, chunk_size=4, window=2, gate_channels="alpha", gain="fast"),
    MemoryConfig(depth=2, chunk_size=4, inner_optimizer="muon", feature_degree=3),
    MemoryConfig(depth=3, chunk_size=8, update_every=4, inner_optimizer="muon", window=4, gate_channels="all"),
    MemoryConfig(
        depth=2, chunk_size=4, update_every=2, inner_optimizer="muon", read="previous", written="last", gain="learned"
    ),
]
MACS = [
    MacConfig(long_term_tokens=3), MacConfig(order="write_first", write="input"), MacConfig(read="start", reset=True),
]  # fmt: skip
RECURRENT = [
    RecurrentConfig(chunk_size=8, state_size=5),
    RecurrentConfig(chunk_size=5, state_size=6, expand_k=0.6, expand_v=1.4, conv_size=3),
]


def _configs():
    for variant in VARIANTS:
        for memory in MEMORIES if variant in WITH_MEMORY else MEMORIES[:1]:
            for persistent, conv, attention in ((0, 1, 1), (5, 4, 3)):
                sizes = {"persistent_tokens": persistent, "conv_size": conv, "attention_conv_size": attention}
                yield _config(variant, memory, **sizes)
    for mac in MACS:
        yield _config("mac", MEMORIES[1], settings=(mac,), combine="product", persistent_written=True)
        yield _config("mac", MEMORIES[-2], settings=(mac,), attention_conv_size=3)
    yield _config("mag", MEMORIES[1], persistent_written=False, combine="sigmoid")
    yield _config("lmm", MEMORIES[0], tie_embeddings=True)
    for variant in VARIANTS:
        for recurrent in RECURRENT if "recurrent.chunk_size" in reads(variant) else []:
            yield _config(variant, MEMORIES[0], recurrent=recurrent)


def _config(variant, memory, **others):
    return of_variant(variant, dim=32, n_heads=2, segment_len=16, window=12, memory=memory, **others)


CONFIGS = list(_configs())


def counted():
    """torch's counter, with triangular systems, which it does not know: a column costs what is below the diagonal."""

    def solve(system, sides, *_, out_shape=None, **__):
        size = system[-1]
        return math.prod(sides[:-2]) * size * (size - 1) * sides[-1]

    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.linalg_solve_triangular: solve})


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_parameters_equal_those_of_the_module(config):
    assert parameters(config) == sum(p.numel() for p in LanguageModel(config).parameters() if p.requires_grad)


def of_torch_s_steps(model):
    """The model with a kernel whose products the counter sees."""
    use_kernel(model, "torch")
    return model


def test_flops_of_a_linear_memory_at_chunk_1_are_the_counted_ones_and_the_triangular_systems():
    config = ModelConfig(
        variant="lmm",
        dim=32,
        n_heads=2,
        persistent_tokens=0,
        memory=MemoryConfig(depth=1, chunk_size=1, residual=False),
    )
    model = of_torch_s_steps(LanguageModel(config))
    with counted() as counter:
        model(torch.zeros(3, 100, dtype=torch.long))
    assert forward_flops(config, length=100, batch=3) == counter.get_total_flops()


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_flops_equal_the_counted_ones(config):
    tokens = torch.zeros(3, 37, dtype=torch.long)
    model = of_torch_s_steps(LanguageModel(config)).double()  # and plain attention: the counter knows no fused forms
    with counted() as counter, sdpa_kernel(SDPBackend.MATH):
        model(tokens)
    sizes = mamba_sizes(config)
    states = config.mixers.count("mamba") * 3 * 37 * sizes.inner * sizes.state
    recurrence = 2 * 2 * states  # of Mamba: no product of matrices
    assert forward_flops(config, length=37, batch=3) == counter.get_total_flops() + recurrence


def test_training_is_three_forward_passes():
    config = ModelConfig()
    assert train_flops_per_token(config, 64, 2) == 3 * forward_flops(config, 64, 2) // 128


def test_only_the_state_of_full_attention_grows_with_length():
    for variant in VARIANTS:
        config = of_variant(variant)
        assert (state_bytes(config, 2048) > state_bytes(config, 1024)) == (variant in GROWING)


def numbers(state):
    """How many numbers a tree of tensors holds."""
    if isinstance(state, torch.Tensor):
        return state.numel()
    return sum(map(numbers, state)) if state else 0


@pytest.mark.parametrize("conv", [1, 3])
@pytest.mark.parametrize("length", [8, 32, 37, 48, 64])
@pytest.mark.parametrize("variant", ["transformer", "window", "mag", "mal", "lmm", "mac"])
def test_the_state_of_attention_and_a_memory_is_what_their_stream_carries(variant, length, conv):
    memory = MemoryConfig(depth=1, chunk_size=4, read="previous" if variant == "lmm" else "token")
    sizes = {"dim": 16, "n_heads": 2, "n_layers": 1, "segment_len": 16, "window": 40, "attention_conv_size": conv}
    config = ModelConfig(variant=variant, **sizes, persistent_tokens=0, memory=memory)  # which all streams share
    model = LanguageModel(config)
    length -= length % 4 * ("memory.chunk_size" in reads(variant))  # at a chunk's boundary
    state = model.advance(torch.zeros(1, length, dtype=torch.long), model.start(1))[1]
    assert state_bytes(config, length) == 4 * numbers_once(state)


def numbers_once(state):
    """Numbers in the tensors of a tree, each tensor once."""
    found = {}

    def look(tree):
        if isinstance(tree, torch.Tensor):
            found[tree.data_ptr(), tree.shape] = tree.numel()
        elif isinstance(tree, tuple | list):
            for each in tree:
                look(each)

    look(state)
    return sum(found.values())


@pytest.mark.parametrize("recurrent", [RecurrentConfig(), *RECURRENT], ids=range(3))
@pytest.mark.parametrize(
    "variant", [name for name in VARIANTS if getattr(SPECS[name], "state", "").endswith(":MatrixStream")]
)
def test_the_state_of_a_recurrence_is_what_its_stream_carries(variant, recurrent):
    config = _config(variant, MEMORIES[0], recurrent=recurrent)
    model = LanguageModel(config)
    streams = model.advance(torch.zeros(1, 37, dtype=torch.long), model.start(1))[1]
    assert state_bytes(config, 37) == 4 * sum(numbers((stream.state, stream.tails)) for stream in streams)
