"""The state that the memory carries from call to call, and the switches that say how it is built, written and read."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

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
    """The switches of the memory: how it is built, written and read. `neural_memory` documents each field."""

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
