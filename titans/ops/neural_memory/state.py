"""What the memory operator carries from call to call, its switches, and the checks on what it is given."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

ACTIVATIONS = ("gelu", "silu", "relu")
LOSSES = ("sum", "mean", "half")
READS = ("token", "chunk", "previous")

State: TypeAlias = "MemoryState | LaggedState"
#: One tensor for all layers, or one a layer; see `neural_memory`.
Gate: TypeAlias = "Tensor | tuple[Tensor, ...]"


class MemoryState(NamedTuple):
    """Fast weights and their momentum, per sequence and head.

    Attributes:
        weights: One `[batch, heads, d_out, d_in]` a layer; the first d_in and the last d_out are the head's width. With
            `gain`, one more of `[batch, heads, dim]`.
        momentum: The same shapes: S of the paper, the decaying sum of past surprise.
    """

    weights: tuple[Tensor, ...]
    momentum: tuple[Tensor, ...]


class LaggedState(NamedTuple):
    """What `read="previous"` returns: a `MemoryState`, and the weights that the last chunk started with."""

    weights: tuple[Tensor, ...]
    momentum: tuple[Tensor, ...]
    lagged: tuple[Tensor, ...]


class Switches(NamedTuple):
    """How the memory is built, written and read; see `neural_memory` for each."""

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
        """Whether a layer is written."""
        return self.written is None or layer in self.written


def by_layer(gate: Gate | None, layers: int) -> tuple[Tensor | None, ...]:
    """A gate of each layer, `[batch, heads, time]` or `[batch, heads, time, d_in]`."""
    if gate is None or isinstance(gate, tuple):
        return gate or (None,) * layers
    return gate.unbind(-1) if gate.dim() == 4 else (gate,) * layers


def check(
    q: Tensor, k: Tensor, v: Tensor, theta: Gate, eta: Gate | None, alpha: Gate | None, state: State, how: Switches
) -> None:
    """Raise `ValueError`, naming the argument, where the operator's arguments do not fit together.

    The range of the gates is checked on a CPU only: on a GPU a look at the values would stall the stream.
    """
    if q.dim() != 4 or not q.is_floating_point():
        raise ValueError(f"q: expected floating-point [batch, heads, time, dim], got {q.dtype} {list(q.shape)}")
    if theta is None:
        raise ValueError("theta: is None; a memory without a step size learns nothing, give zeros to mean that")
    for name, x in (("k", k), ("v", v)):
        _expect(name, x, list(q.shape), q)
    if q.shape[2] < 1:
        raise ValueError("q: a sequence has at least one token, got time 0")
    _check_switches(how, len(state.weights))
    _check_state(state, how.gain, q)
    for name, gate in (("theta", theta), ("eta", eta), ("alpha", alpha)):
        if gate is not None:
            _check_gate(name, gate, state, how.gain, q)


def _check_switches(how: Switches, layers: int) -> None:
    if how.chunk_size < 1:
        raise ValueError(f"chunk_size: {how.chunk_size} is below 1")
    for name, value, valid in (
        ("activation", how.activation, ACTIVATIONS), ("loss", how.loss, LOSSES), ("read", how.read, READS),
    ):  # fmt: skip
        if value not in valid:
            raise ValueError(f"{name}: {value!r} is not one of {', '.join(valid)}")
    if how.update_every < 1 or how.chunk_size % how.update_every:
        raise ValueError(f"update_every: {how.update_every} does not divide chunk_size {how.chunk_size}")
    if how.gain and not how.residual:
        raise ValueError("gain: there is no LayerNorm to have one without residual=True")
    if how.written is not None and not set(how.written) <= set(range(layers)):
        raise ValueError(f"written: {how.written} names a layer that is not one of {layers}, counted from 0")


def _check_state(state: State, gain: bool, like: Tensor) -> None:
    layers = len(state.weights)
    if layers < 1 + gain or len(state.momentum) != layers:
        raise ValueError(f"state: {layers} weights and {len(state.momentum)} momenta; expected one of each a layer")
    for layer, (weight, momentum) in enumerate(zip(state.weights, state.momentum, strict=True)):
        shape = _layer_shape(state, layer, gain, like)
        _expect(f"state.weights[{layer}]", weight, shape, like)
        _expect(f"state.momentum[{layer}]", momentum, shape, like)


def _layer_shape(state: State, layer: int, gain: bool, like: Tensor) -> list[int]:
    """What a layer's weights have to be, given those of its neighbours."""
    batch, heads, _, dim = like.shape
    last = len(state.weights) - gain - 1
    if layer > last:
        return [batch, heads, dim]
    d_in = dim if layer == 0 else state.weights[layer - 1].shape[2]
    d_out = dim if layer == last else state.weights[layer].shape[2]
    return [batch, heads, d_out, d_in]


def _check_gate(name: str, gate: Gate, state: State, gain: bool, like: Tensor) -> None:
    layers, shape = len(state.weights), list(like.shape[:3])
    if isinstance(gate, tuple):
        if len(gate) != layers:
            raise ValueError(f"{name}: {len(gate)} gates for {layers} layers")
        for layer, each in enumerate(gate):
            per_channel = name != "theta" and not (gain and layer == layers - 1)
            shapes = [shape, [*shape, state.weights[layer].shape[-1]]] if per_channel else [shape]
            _check_one(f"{name}[{layer}]", each, shapes, like)
    else:
        _check_one(name, gate, [shape, [*shape, layers]], like)


def _check_one(name: str, gate: Tensor, shapes: list[list[int]], like: Tensor) -> None:
    if list(gate.shape) not in shapes:
        raise ValueError(f"{name}: expected {' or '.join(map(str, shapes))}, got {list(gate.shape)}")
    _expect(name, gate, list(gate.shape), like)
    if gate.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if bool((gate < 0).any()):
        raise ValueError(f"{name}: has a value below 0")
    if not name.startswith("theta") and bool((gate > 1).any()):
        raise ValueError(f"{name}: has a value above 1")


def _expect(name: str, x: Tensor, shape: list[int], like: Tensor) -> None:
    if list(x.shape) != shape:
        raise ValueError(f"{name}: expected {shape}, got {list(x.shape)}")
    if x.dtype != like.dtype or x.device != like.device:
        raise ValueError(f"{name}: is {x.dtype} on {x.device}, q is {like.dtype} on {like.device}")
