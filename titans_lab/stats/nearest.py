"""Find the nearest rows: those that differ in the fewest columns."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np

FEW_PAIRS = 1_000_000
BLOCK_PAIRS = 20_000_000  # pairs of rows that are compared at a time


def nearest(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return for each row of `wanted` the index of the row of `known` that differs in the fewest columns.

    Rows that differ in up to two columns are found by sums of random numbers, one for each value of each column:
    without these columns the sums are equal. What is left is compared with all.

    Args:
        wanted: Integers from 0, [rows, columns].
        known: The same, at least one row.
    """
    varied = np.any(np.concatenate([wanted, known]) != known[0], axis=0)
    wanted, known = wanted[:, varied], known[:, varied]
    found = np.full(len(wanted), -1)
    parts = _parts(np.concatenate([wanted, known]))
    for out in chain.from_iterable(combinations(range(wanted.shape[1]), size) for size in range(3)):
        left = np.flatnonzero(found < 0)
        if len(left) * len(known) < FEW_PAIRS:
            break
        kept = parts.sum(axis=1) - parts[:, list(out)].sum(axis=1)
        found[left] = _matches(kept[left], kept[len(wanted) :])
    left = np.flatnonzero(found < 0)
    for rows in np.array_split(left, 1 + len(left) * len(known) // BLOCK_PAIRS):
        found[rows] = _differences(wanted[rows], known).argmin(axis=1)
    return found


def _parts(rows: np.ndarray) -> np.ndarray:
    """Return a random number for each value of each column, [rows, columns]; sums of them wrap round."""
    draw = np.random.default_rng(0)
    numbers = [draw.integers(0, 2**63, size=int(column.max()) + 1, dtype=np.uint64) for column in rows.T]
    columns = [each[column] for each, column in zip(numbers, rows.T, strict=True)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0), dtype=np.uint64)


def _matches(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return for each number its first index in `known`, or -1 where it is missing."""
    values, first = np.unique(known, return_index=True)
    place = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return np.where(values[place] == wanted, first[place], -1)


def _differences(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return in how many columns each pair of rows differs."""
    count = np.zeros((len(wanted), len(known)), dtype=np.uint16)
    for ours, theirs in zip(wanted.T, known.T, strict=True):
        count += ours[:, None] != theirs
    return count
