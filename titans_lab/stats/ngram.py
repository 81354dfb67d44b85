"""N-gram models of bytes, the baseline that a learned model must beat.

Interpolated Witten-Bell smoothing (Witten & Bell 1991; Chen & Goodman 1998, section 2.4): with c the counts in the
training part and T(h) the number of distinct bytes seen after context h,

    P(w | h) = (c(h, w) + T(h) P(w | h')) / (c(h) + T(h)),    h' = h without its first byte,

down to 1/256 below the empty context. A context never seen leaves P(w | h') as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

LONGEST_CONTEXT = 7  # a context and its byte are one 64-bit integer


def witten_bell_bits(train: np.ndarray, valid: np.ndarray, order: int) -> float:
    """Return the bits per byte of `valid` under the model of `train` with `order` bytes of context.

    Both are uint8. The first bytes of `valid` have shorter contexts, since nothing is before them.
    """
    return witten_bell_losses(train, valid, (order,))[order]


def witten_bell_losses(train: np.ndarray, valid: np.ndarray, orders: Sequence[int] = (0, 1, 3)) -> dict[int, float]:
    """Return `witten_bell_bits` of several orders, at the cost of the longest."""
    if not all(0 <= order <= LONGEST_CONTEXT for order in orders):
        raise ValueError(f"orders: {tuple(orders)} are not all between 0 and {LONGEST_CONTEXT}")
    if not len(train) or not len(valid):
        raise ValueError("train and valid: an empty text has no statistics")
    bits = [float(-np.log2(p).mean()) for p in _probabilities(train, valid, max(orders))]
    return {order: bits[order] for order in orders}


def _probabilities(train: np.ndarray, valid: np.ndarray, order: int) -> Iterator[np.ndarray]:
    """Return P of each byte of `valid`, for every order from 0 up."""
    p = np.full(len(valid), 1 / 256)
    for context in range(order + 1):
        if context < min(len(train), len(valid)):
            p[context:] = _interpolate(_grams(train, context + 1), _grams(valid, context + 1), p[context:])
        yield p


def _interpolate(seen: np.ndarray, asked: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return P of the `asked` grams, given the `seen` ones and P with one byte of context less."""
    grams, counts = np.unique(seen, return_counts=True)
    contexts, starts = np.unique(grams >> 8, return_index=True)
    totals, distinct = np.add.reduceat(counts, starts), np.diff(starts, append=len(grams))
    count = _look_up(grams, counts, asked)
    total, kinds = (_look_up(contexts, values, asked >> 8) for values in (totals, distinct))
    return np.where(total > 0, (count + kinds * lower) / np.maximum(total + kinds, 1), lower)


def _look_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return values[keys == asked], and 0 for a missing key; `keys` are sorted."""
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[places] == asked, values[places], 0)


def _grams(text: np.ndarray, length: int) -> np.ndarray:
    """Return every sequence of `length` bytes as one integer, its last byte lowest."""
    dtype = np.uint32 if length <= 4 else np.uint64
    codes: np.ndarray = np.zeros(len(text) - length + 1, dtype=dtype)
    for offset in range(length):
        codes = (codes << dtype(8)) | text[offset : len(codes) + offset]
    return codes
