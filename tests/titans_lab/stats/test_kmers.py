from __future__ import annotations

import numpy as np
import pytest
from draws import generator
from scipy.optimize import approx_fprime

from titans_lab.stats.kmers import kmer_classes, kmer_features, logistic


def sequences(count: int, rich: float) -> list[np.ndarray]:
    """Random bases, of which so much are 2 or 3, of different lengths."""
    random = generator()
    chances = [(1 - rich) / 2, (1 - rich) / 2, rich / 2, rich / 2]
    return [random.choice(4, random.integers(40, 60), p=chances) for _ in range(count)]


def test_features_are_roots_of_the_frequencies_of_words():
    counts = np.zeros((3, 16))
    counts[0, [0 * 4 + 1, 1 * 4 + 3, 3 * 4 + 3]] = [1, 1, 1]  # ACTT: AC, CT, TT
    counts[1, 2 * 4 + 2] = 2  # GGNGG: GG twice
    found = kmer_features([np.array([0, 1, 3, 3]), np.array([2, 2, 4, 2, 2]), np.array([1])], 2).toarray()
    np.testing.assert_allclose(found, np.sqrt(counts / np.array([[3], [2], [1]])))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_fit_is_where_the_slope_of_its_loss_is_0(classes: int):
    random = generator()
    x, y = kmer_features(sequences(60, 0.5), 1), random.integers(0, classes, 60)
    weights = _weights(logistic(x, y, classes, 0.01), 4, classes)

    def loss(flat: np.ndarray) -> float:
        w = flat.reshape(5, classes)
        logits = x.toarray() @ w[:-1] + w[-1]
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return -np.log(chances[np.arange(60), y]).mean() + 0.005 * (w[:-1] ** 2).sum()

    assert np.abs(approx_fprime(weights.ravel(), loss, 1e-7)).max() < 1e-3


def _weights(classify, features: int, classes: int) -> np.ndarray:
    """What a fitted classifier holds."""
    [weights] = [cell.cell_contents for cell in classify.__closure__]
    assert weights.shape == (features + 1, classes)
    return weights


def test_only_classes_with_different_words_are_distinguished():
    def part(count: int, rich: float):
        both = sequences(count, 0.5) + sequences(count, rich)
        return both, np.repeat([0, 1], count)

    for rich, low, high in ((0.75, 0.9, 1.0), (0.5, 0.3, 0.7)):
        asked, true = part(100, rich)
        right = (kmer_classes(part(150, rich), part(50, rich), asked, 2) == true).mean()
        assert low <= right <= high
