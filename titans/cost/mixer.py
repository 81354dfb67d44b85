"""What the cost of a sequence mixer says, and counts of token pairs that several need."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from titans.models.config import ModelConfig


class MixerCost(NamedTuple):
    """The cost of one mixer in closed form.

    Attributes:
        parameters: Trainable numbers.
        products: Multiply-adds of a forward pass; of a configuration, a length and a batch.
        state: Numbers that a stream carries on after a length, at a chunk's boundary.
    """

    parameters: Callable[[ModelConfig], int]
    products: Callable[[ModelConfig, int, int], int]
    state: Callable[[ModelConfig, int], int]


def squares(length: int, size: int) -> int:
    """Pairs of tokens inside the same part, for parts of `size` and a shorter last one."""
    return length // size * size**2 + (length % size) ** 2


def triangles(length: int, size: int) -> int:
    """Pairs of different tokens inside the same part: what a column of a triangular system costs to solve."""
    return (squares(length, size) - length) // 2
