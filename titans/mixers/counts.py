"""Counts of token pairs, which the costs of several mixers need."""

from __future__ import annotations

from collections.abc import Callable


def over_chunks(length: int, size: int, cost: Callable[[int], int]) -> int:
    """Return the cost of all chunks of `size` tokens, given that of a chunk by its tokens; the last may be shorter."""
    rest = length % size
    return length // size * cost(size) + (cost(rest) if rest else 0)


def squares(length: int, size: int) -> int:
    """Return the pairs of tokens that are in the same chunk of `size` tokens; the last chunk may be shorter."""
    return over_chunks(length, size, lambda tokens: tokens**2)


def triangles(length: int, size: int) -> int:
    """Return the pairs of different tokens in the same chunk: the cost of a column of a triangular system."""
    return (squares(length, size) - length) // 2
