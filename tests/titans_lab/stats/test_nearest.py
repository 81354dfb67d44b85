from __future__ import annotations

from time import process_time

import numpy as np
import pytest

from titans_lab.stats import nearest as module
from titans_lab.stats.nearest import nearest


def distances(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    return (wanted[:, None] != known).sum(axis=2)


@pytest.mark.parametrize("few", [0, 1_000_000], ids=["by sums", "by pairs"])
@pytest.mark.parametrize("values", [2, 3, 9])
def test_no_row_is_nearer(values: int, few: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FEW_PAIRS", few)
    monkeypatch.setattr(module, "BLOCK_PAIRS", 1000)
    draw = np.random.default_rng(values)
    wanted, known = draw.integers(0, values, (60, 7)), draw.integers(0, values, (80, 7))
    known[:, 3] = wanted[:, 3] = 1
    found = nearest(wanted, known)
    every = distances(wanted, known)
    assert (every[np.arange(60), found] == every.min(axis=1)).all()


def test_equal_rows_and_rows_without_columns_are_found():
    rows = np.array([[1, 2], [3, 4]])
    assert nearest(rows, rows).tolist() == [0, 1]
    assert nearest(rows[:1], rows[:1]).tolist() == [0]


def test_ten_thousand_beside_ten_thousand_take_no_time():
    draw = np.random.default_rng(0)
    known = draw.integers(0, 20, (10_000, 30))
    wanted = known.copy()
    wanted[:, 4] += 100  # one field changed everywhere
    wanted[::2, 9] += 100
    begin = process_time()
    found = nearest(wanted, known)
    assert process_time() - begin < 3
    assert (found == np.arange(10_000)).all()
