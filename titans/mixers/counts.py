"""Counts of token pairs, which the costs of several mixers need."""

from __future__ import annotations


def squares(length: int, size: int) -> int:
    """Pairs of tokens inside the same part, for parts of `size` and a shorter last one."""
    return length // size * size**2 + (length % size) ** 2


def triangles(length: int, size: int) -> int:
    """Pairs of different tokens inside the same part: what a column of a triangular system costs to solve."""
    return (squares(length, size) - length) // 2
