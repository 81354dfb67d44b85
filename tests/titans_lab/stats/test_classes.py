from __future__ import annotations

import numpy as np
import pytest
from draws import generator

from titans_lab.stats.classes import matthews


def test_two_classes_give_the_formula_of_the_four_counts():
    random = generator()
    true, found = random.integers(0, 2, (2, 200))
    tp, tn = (found & true).sum(), ((1 - found) & (1 - true)).sum()
    fp, fn = (found & (1 - true)).sum(), ((1 - found) & true).sum()
    expected = (tp * tn - fp * fn) / np.sqrt(float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
    assert matthews(found, true) == pytest.approx(expected)


def test_three_classes_by_hand():
    """R_K from the confusion matrix: covariances of the indicators, summed over the classes."""
    true, found = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])
    assert matthews(found, true) == pytest.approx((4 * 6 - 12) / np.sqrt((36 - 14) * (36 - 12)))


def test_its_ends():
    true = np.array([0, 1, 2, 1])
    assert matthews(true, true) == pytest.approx(1)
    assert matthews(np.array([1, 0, 1, 0]), np.array([0, 1, 0, 1])) == pytest.approx(-1)
    assert matthews(np.zeros(4, int), true) == matthews(true, np.zeros(4, int)) == 0
