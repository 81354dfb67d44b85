"""A sequence in parts gives what the whole gives, however it is cut, and the state does not grow."""

from __future__ import annotations

import itertools

import pytest
import torch
from variants import GROWING, VARIANTS, WITH_ATTENTION, WITH_MEMORY, of_variant

from titans.mixers.lmm.layer import NeuralMemory
from titans.mixers.mac import MacConfig
from titans.models.config import MemoryConfig
from titans.models.generation import generate, load_state, prefill, save_state
from titans.models.language_model import LanguageModel

LENGTH = 45
MEMORIES = {
    "default": MemoryConfig(depth=2, expansion=2, chunk_size=4),
    "linear": MemoryConfig(depth=1, residual=False, chunk_size=1),
    "grouped": MemoryConfig(depth=2, chunk_size=4, update_every=2, gate_span="group", gain="fast"),
    "lagging": MemoryConfig(
        depth=3, expansion=1, chunk_size=4, read="previous", gate_span="chunk", gate_channels="alpha"
    ),
    "other chunk": MemoryConfig(depth=2, chunk_size=4, eval_chunk_size=8, reset_momentum=True),
    "budget": MemoryConfig(
        depth=2, chunk_size=4, update_every=2, theta_scale=2.0, theta_ceiling=9.0, theta_range="log", theta_budget=0.5
    ),
    "huber": MemoryConfig(depth=2, chunk_size=4, update_every=2, objective="huber", huber_threshold=0.1),
    "window": MemoryConfig(depth=2, chunk_size=4, update_every=2, window=7, objective="huber", theta_scale=0.1),
    "window per channel": MemoryConfig(
        depth=2, chunk_size=4, window=3, gate_channels="all", read="previous", eval_chunk_size=8, theta_budget=1.0
    ),
    "muon": MemoryConfig(depth=2, chunk_size=4, update_every=2, inner_optimizer="muon", window=3, eval_chunk_size=8),
    "muon by token": MemoryConfig(depth=2, chunk_size=4, inner_optimizer="muon", gate_channels="alpha", objective="lp"),
    "features": MemoryConfig(depth=2, chunk_size=4, feature_degree=3),
    "plain output": MemoryConfig(depth=2, chunk_size=4, read_norm=False, output_gate="head", theta_damping=False),
}
CASES = [(v, m) for v in VARIANTS for m in MEMORIES if v in WITH_MEMORY or m == "default"]


def random_model(variant, memory=MEMORIES["default"], mac=MacConfig(), dtype=torch.float64, spread=0.3, **values):  # noqa: B008
    """Parameters as training starts them, plus noise that leaves none of them at a special value."""
    config = of_variant(
        variant, vocab_size=11, dim=16, n_layers=2, n_heads=2, persistent_tokens=3, segment_len=8, window=6,
        memory=memory, settings=(mac,), **values,
    )  # fmt: skip
    model = LanguageModel(config).to(dtype).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(spread * torch.randn_like(p))
    return model


def in_parts(model, tokens, cuts):
    state, parts = model.start(tokens.shape[0]), []
    for begin, end in itertools.pairwise([0, *cuts, tokens.shape[1]]):
        y, state = model.advance(tokens[:, begin:end], state)
        parts.append(y)
    return torch.cat(parts, 1)


@pytest.mark.parametrize(("variant", "memory"), CASES)
def test_any_cut_gives_the_whole(variant, memory):
    model, tokens = random_model(variant, MEMORIES[memory]), torch.randint(0, 11, (2, LENGTH))
    with torch.no_grad():
        whole = model(tokens)
        for cuts in ([1], [LENGTH - 1], [4, 8], [7, 13, 14, 30], list(range(1, LENGTH))):
            torch.testing.assert_close(in_parts(model, tokens, cuts), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("variant", WITH_ATTENTION)
def test_any_cut_of_convolved_attention_gives_the_whole(variant, size):
    model = random_model(variant, attention_conv_size=size, mac=MacConfig(long_term_tokens=3))
    tokens = torch.randint(0, 11, (2, LENGTH))
    with torch.no_grad():
        whole = model(tokens)
        for cuts in ([1], [2, 3], [8, 9], [7, 13, 14, 30], list(range(1, LENGTH))):
            torch.testing.assert_close(in_parts(model, tokens, cuts), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_float32_agrees_to_a_hundred_thousandth(variant):
    model, tokens = random_model(variant, dtype=torch.float32, spread=0), torch.randint(0, 11, (2, LENGTH))
    with torch.no_grad():
        whole = model(tokens)
        for cut in range(1, LENGTH):
            assert (in_parts(model, tokens, [cut]) - whole).abs().max() < 1e-5 * whole.abs().max()


@pytest.mark.parametrize(
    "mac",
    [
        MacConfig(write="input"), MacConfig(order="write_first", write="input"), MacConfig(read="start"),
        MacConfig(positions="phs"), MacConfig(positions="psh"), MacConfig(long_term_tokens=3), MacConfig(reset=True),
    ],
    ids=str,
)  # fmt: skip
def test_any_reading_of_mac_streams(mac):
    model, tokens = random_model("mac", mac=mac), torch.randint(0, 11, (2, LENGTH))
    with torch.no_grad():
        whole = model(tokens)
        torch.testing.assert_close(in_parts(model, tokens, [7, 13, 14, 30]), whole, rtol=0, atol=1e-9)


def numbers(state):
    """How many numbers a state holds."""
    if isinstance(state, torch.Tensor):
        return state.numel()
    return sum(map(numbers, state)) if isinstance(state, tuple) else 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_state_does_not_grow(variant):
    model = random_model(variant)
    after = [numbers(prefill(model, torch.randint(0, 11, (1, time)), piece=7)) for time in (64, 640)]
    assert (after[1] > after[0]) == (variant in GROWING)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_state_survives_a_file(variant, tmp_path):
    model, tokens = random_model(variant, attention_conv_size=3), torch.randint(0, 11, (1, LENGTH))
    state = prefill(model, tokens[:, :21])
    save_state(state, tmp_path / "state.pt")
    with torch.no_grad():
        went_on = model.advance(tokens[:, 21:], state)[0]
        resumed = model.advance(tokens[:, 21:], load_state(tmp_path / "state.pt"))[0]
    torch.testing.assert_close(resumed, went_on, rtol=0, atol=0)


def test_generation_takes_the_likeliest_token_of_the_whole_sequence():
    model, prompt = random_model("mac"), torch.randint(0, 11, (2, 9))
    drawn = generate(model, prompt, 6, temperature=0)
    with torch.no_grad():
        logits = model(torch.cat((prompt, drawn), 1))
    torch.testing.assert_close(drawn, logits[:, 8:-1].argmax(-1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_generation_goes_on_from_a_state_and_from_a_single_token(variant):
    model, prompt = random_model(variant), torch.randint(0, 11, (2, 9))
    whole = generate(model, prompt, 4, temperature=0)
    assert torch.equal(generate(model, prompt[:, 8:], 4, temperature=0, state=prefill(model, prompt[:, :8])), whole)
    alone = generate(model, prompt[:, :1], 1, temperature=0)
    with torch.no_grad():
        assert torch.equal(alone, model(prompt[:, :1]).argmax(-1))


def test_generation_needs_a_prompt_and_a_seed_repeats_it():
    model = random_model("lmm")
    with pytest.raises(ValueError, match="prompt"):
        generate(model, torch.zeros(1, 0, dtype=torch.long), 3)
    one, other = (
        generate(model, torch.ones(1, 2, dtype=torch.long), 8, generator=torch.Generator().manual_seed(5))
        for _ in range(2)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("variant", sorted(WITH_MEMORY))
def test_a_token_is_all_that_is_computed_for_a_token(variant):
    """An unfinished chunk is not written again."""
    model = LanguageModel(of_variant(variant, dim=16, n_heads=2, memory=MemoryConfig(chunk_size=8))).eval()
    state = prefill(model, torch.randint(0, 256, (1, 11)))
    times = []
    for module in model.modules():
        if isinstance(module, NeuralMemory):
            operator = module.operator

            def counted(q, *rest, operator=operator, **switches):
                times.append(q.shape[2])
                return operator(q, *rest, **switches)

            module.operator = counted
    generate(model, torch.randint(0, 256, (1, 1)), 20, state=state)
    assert times == [1] * 20 * len([block for block in model.config.mixers if block in WITH_MEMORY])
