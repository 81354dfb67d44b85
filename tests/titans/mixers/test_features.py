"""The polynomial that keys and queries of a memory may pass."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from titans.mixers.lmm.layer import NeuralMemory
from titans.mixers.parts import PolynomialFeatures
from titans.models.config import MemoryConfig, ModelConfig
from titans.models.language_model import LanguageModel
from titans.ops import neural_memory


def test_the_coefficients_start_at_those_of_the_exponential_function_without_its_constant():
    x = torch.tensor([0.0, 1.0, -2.0]).view(1, 1, 1, 3)
    found = PolynomialFeatures(heads=1, degree=3, unit=False)(x)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.0, 1 + 1 / 2 + 1 / 6, -2 + 4 / 2 - 8 / 6]))
    lengths = PolynomialFeatures(heads=1, degree=3, unit=True)(torch.randn(2, 1, 5, 4)).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones(2, 1, 5))


def test_each_head_has_its_own_coefficients():
    features = PolynomialFeatures(heads=2, degree=2, unit=False)
    features.coefficients.data = torch.tensor([1.0, 0.0, 0.0, 1.0])
    found = features(torch.full((1, 2, 1, 1), 3.0))
    assert found.flatten().tolist() == [3.0, 9.0]


def test_queries_and_keys_pass_one_polynomial_before_their_length_is_normalised():
    config = ModelConfig(variant="lmm", dim=8, n_heads=2, memory=MemoryConfig(depth=1, feature_degree=2))
    memory = next(m for m in LanguageModel(config).modules() if isinstance(m, NeuralMemory))
    memory.features.coefficients.data = torch.tensor([0.7, 0.2, 0.4, 0.9])
    seen = []

    def spy(q, k, v, *rest, **switches):
        seen.extend((q, k, v))
        return neural_memory(q, k, v, *rest, **switches)

    memory.operator = spy
    x, by_head = torch.randn(1, 5, 8), memory.features.coefficients.detach().view(2, 2)[:, :, None, None]
    with torch.no_grad():
        memory(x, memory.start(1))
        for found, projection in zip(seen[:2], (memory.q, memory.k), strict=True):
            raw, _ = projection(x)
            torch.testing.assert_close(found, F.normalize(by_head[:, 0] * raw + by_head[:, 1] * raw**2, dim=-1))
        torch.testing.assert_close(seen[2], memory.v(x)[0])


def test_what_mac_recalls_passes_it_too():
    config = ModelConfig(variant="mac", dim=8, n_heads=2, segment_len=16, memory=MemoryConfig(feature_degree=2))
    mixer, seen = LanguageModel(config).blocks[0].mixer, []
    read = mixer.memory.read
    mixer.memory.read = lambda q, *rest: seen.append(q) or read(q, *rest)
    x = torch.randn(1, 3, 8)
    with torch.no_grad():
        mixer(x, mixer.start(1))
        torch.testing.assert_close(seen[0], mixer.memory.features(mixer.memory.q(x)[0]))


@pytest.mark.parametrize(
    ("degree", "words"), [(0, "feature_degree: 0 is below 1"), (9, "feature_degree: 9 is above 8")]
)
def test_a_degree_that_cannot_be_is_refused(degree: int, words: str):
    with pytest.raises(ValueError, match=words):
        MemoryConfig(feature_degree=degree)
