from __future__ import annotations

from collections import defaultdict
from math import log2
from pathlib import Path

import numpy as np
import pytest

import titans_lab.stats.ngram
from titans_lab.stats.ngram import witten_bell_bits, witten_bell_losses


def plain(train: bytes, valid: bytes, order: int) -> float:
    """The recursion as it is written, with dictionaries."""
    counts: dict[bytes, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for at in range(len(train)):
        for length in range(min(at, order) + 1):
            counts[train[at - length : at]][train[at]] += 1

    def probability(context: bytes, byte: int) -> float:
        lower = probability(context[1:], byte) if context else 1 / 256
        after = counts.get(context)
        if after is None:
            return lower
        return (after.get(byte, 0) + len(after) * lower) / (sum(after.values()) + len(after))

    total = sum(-log2(probability(valid[max(0, at - order) : at], valid[at])) for at in range(len(valid)))
    return total / len(valid)


def bits(train: bytes, valid: bytes, order: int) -> float:
    return witten_bell_bits(np.frombuffer(train, np.uint8), np.frombuffer(valid, np.uint8), order)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 5, 7])
@pytest.mark.parametrize("symbols", [1, 3, 256])
def test_equals_the_recursion_on_random_bytes(order: int, symbols: int):
    draw = np.random.default_rng(order * 1000 + symbols)
    train, valid = (draw.integers(256 - symbols, 256, size, dtype=np.uint8).tobytes() for size in (3000, 400))
    assert bits(train, valid, order) == pytest.approx(plain(train, valid, order), abs=1e-12)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_equals_the_recursion_on_real_text(order: int):
    text = Path(titans_lab.stats.ngram.__file__).read_bytes()
    assert bits(text[:-500], text[-500:], order) == pytest.approx(plain(text[:-500], text[-500:], order), abs=1e-12)


@pytest.mark.parametrize(("train", "valid"), [(b"a", b"b"), (b"ab", b"abab"), (b"abcabc", b"z"), (b"aaaa", b"aaa")])
def test_texts_shorter_than_the_context(train: bytes, valid: bytes):
    assert bits(train, valid, 3) == pytest.approx(plain(train, valid, 3), abs=1e-12)


def test_several_orders_at_once_are_the_single_ones():
    train, valid = b"the cat sat on the mat. " * 20, b"the rat sat on the cat."
    together = witten_bell_losses(np.frombuffer(train, np.uint8), np.frombuffer(valid, np.uint8))
    assert together == {order: bits(train, valid, order) for order in (0, 1, 3)}


def test_uniform_bytes_cost_eight_bits_and_a_constant_costs_almost_none():
    uniform = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8)
    assert witten_bell_bits(uniform[:-5000], uniform[-5000:], 0) == pytest.approx(8, abs=0.01)
    assert bits(b"a" * 100_000, b"a" * 100, 3) < 1e-4


def test_invalid_orders_and_empty_texts_are_refused():
    text = np.zeros(10, np.uint8)
    with pytest.raises(ValueError, match=r"orders: \(0, 8\)"):
        witten_bell_losses(text, text, (0, 8))
    with pytest.raises(ValueError, match="empty"):
        witten_bell_bits(text, text[:0], 1)
