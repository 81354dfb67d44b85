"""The state that the memory carries from call to call, and the switches that say how it is built, written and read."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

#: One tensor for all layers, or a tuple with one for each layer; `neural_memory` states the shapes.
Gate: TypeAlias = "Tensor | tuple[Tensor, ...]"


class MemoryState(NamedTuple):
    """The fast weights and their momentum, for each sequence and head.

    Attributes:
        weights: A matrix `[batch, heads, d_out, d_in]` for each layer. The first d_in and the last d_out are the head's
            width. With `gain`, the gain `[batch, heads, dim]` comes last.
        momentum: S of the paper, the decaying sum of past surprise. The shapes are those of the weights.
    """

    weights: tuple[Tensor, ...]
    momentum: tuple[Tensor, ...]

    @classmethod
    def initial(
        cls,
        depth: int,
        expansion: int = 4,
        *,
        dim: int,
        heads: int = 1,
        batch: int = 1,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> MemoryState:
        """Return random weights without momentum, the same for every sequence of the batch, to start a stream with.

        Args:
            depth: Layers of the memory; 1 is a linear memory.
            expansion: Width of the hidden layers over `dim`.
            dim: Width of a head.
            heads: Number of heads.
            batch: Number of sequences.
            generator: Source of random numbers; None: torch's default.
            dtype: Type of the weights; None: torch's default.
            device: Where the weights are; None: torch's default, or the generator's.

        Raises:
            ValueError: A number is below 1.
        """
        given = {"depth": depth, "expansion": expansion, "dim": dim, "heads": heads, "batch": batch}
        for name, value in given.items():
            if value < 1:
                raise ValueError(f"{name}: {value} is below 1")
        place = generator.device if device is None and generator is not None else device
        sizes = [dim, *[expansion * dim] * (depth - 1), dim]
        drawn = [
            torch.randn(heads, after, before, generator=generator, dtype=dtype, device=place) / before**0.5
            for before, after in pairwise(sizes)
        ]
        weights = tuple(each.expand(batch, -1, -1, -1).clone() for each in drawn)
        return cls(weights, tuple(map(torch.zeros_like, weights)))


class LaggedState(NamedTuple):
    """The state that `read="previous"` returns: a `MemoryState`, and the weights that the last chunk started with.

    Attributes:
        weights, momentum: See `MemoryState`.
        lagged: The weights that the last chunk started with, in the shapes of the weights.
    """

    weights: tuple[Tensor, ...]
    momentum: tuple[Tensor, ...]
    lagged: tuple[Tensor, ...]


State: TypeAlias = MemoryState | LaggedState


class Switches(NamedTuple):
    """The switches of the memory: its form, and how it is written and read. `neural_memory` documents each field."""

    chunk_size: int
    activation: str
    residual: bool
    loss: str
    outer_gradient: bool
    update_every: int
    read: str
    reset_momentum: bool
    ascent: bool
    written: tuple[int, ...] | None
    gain: bool
    objective: str = "l2"
    power: float = 3.0
    window: int = 1
    optimizer: str = "gd"

    def writes(self, layer: int) -> bool:
        """Return whether a layer, counted from 0, is written."""
        return self.written is None or layer in self.written


def by_layer(gate: Gate | None, layers: int) -> tuple[Tensor | None, ...]:
    """Return the gate of each layer, `[batch, heads, time]` or `[batch, heads, time, d_in]`; None where it is off."""
    if gate is None or isinstance(gate, tuple):
        return gate or (None,) * layers
    return gate.unbind(-1) if gate.dim() == 4 else (gate,) * layers


def is_per_channel(gate: Gate | None) -> bool:
    """Return whether a gate, in the shapes of `neural_memory`, has a value for each channel of some layer's input."""
    return isinstance(gate, tuple) and any(x.dim() == 4 for x in gate)
