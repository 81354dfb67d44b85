"""Counts of token pairs, which the costs of several mixers need."""

from __future__ import annotations


def squares(length: int, size: int) -> int:
    """Return the pairs of tokens that are in the same chunk of `size` tokens; the last chunk may be shorter."""
    return length // size * size**2 + (length % size) ** 2


def triangles(length: int, size: int) -> int:
    """Return the pairs of different tokens in the same chunk: the cost of a column of a triangular system."""
    return (squares(length, size) - length) // 2
