"""What the memory operator carries from call to call, and the checks on what it is given."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ACTIVATIONS = ("gelu", "silu", "relu")
LOSSES = ("sum", "mean", "half")


class MemoryState(NamedTuple):
    """Fast weights and their momentum, per sequence and head.

    Attributes:
        weights: One `[batch, heads, d_out, d_in]` a layer; the first d_in and the last d_out are the head's width.
        momentum: The same shapes: S of the paper, the decaying sum of past surprise.
    """

    weights: tuple[Tensor, ...]
    momentum: tuple[Tensor, ...]


def check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    theta: Tensor,
    eta: Tensor | None,
    alpha: Tensor | None,
    state: MemoryState,
    chunk_size: int,
    activation: str,
    loss: str,
) -> None:
    """Raise `ValueError`, naming the argument, where the operator's arguments do not fit together.

    The range of the gates is checked on a CPU only: on a GPU a look at the values would stall the stream.
    """
    if q.dim() != 4:
        raise ValueError(f"q: expected [batch, heads, time, dim], got {list(q.shape)}")
    batch, heads, time, dim = q.shape
    for name, x in (("k", k), ("v", v)):
        _expect(name, x, [batch, heads, time, dim], q)
    if time < 1:
        raise ValueError("q: a sequence has at least one token, got time 0")
    layers = len(state.weights)
    if layers < 1 or len(state.momentum) != layers:
        raise ValueError(f"state: {layers} weights and {len(state.momentum)} momenta; expected one of each a layer")
    _check_state(state, batch, heads, q)
    for name, gate in (("theta", theta), ("eta", eta), ("alpha", alpha)):
        if gate is not None:
            _check_gate(name, gate, [batch, heads, time], layers, q)
    if chunk_size < 1:
        raise ValueError(f"chunk_size: {chunk_size} is below 1")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: {activation!r} is not one of {', '.join(ACTIVATIONS)}")
    if loss not in LOSSES:
        raise ValueError(f"loss: {loss!r} is not one of {', '.join(LOSSES)}")


def _check_state(state: MemoryState, batch: int, heads: int, like: Tensor) -> None:
    width = like.shape[-1]
    for layer, (weight, momentum) in enumerate(zip(state.weights, state.momentum, strict=True)):
        last = layer == len(state.weights) - 1
        d_out = like.shape[-1] if last else weight.shape[-2]
        _expect(f"state.weights[{layer}]", weight, [batch, heads, d_out, width], like)
        _expect(f"state.momentum[{layer}]", momentum, [batch, heads, d_out, width], like)
        width = d_out


def _check_gate(name: str, gate: Tensor, shape: list[int], layers: int, like: Tensor) -> None:
    if list(gate.shape) not in (shape, [*shape, layers]):
        raise ValueError(f"{name}: expected {shape} or {[*shape, layers]}, got {list(gate.shape)}")
    _expect(name, gate, list(gate.shape), like)
    if gate.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if bool((gate < 0).any()):
        raise ValueError(f"{name}: has a value below 0")
    if name != "theta" and bool((gate > 1).any()):
        raise ValueError(f"{name}: has a value above 1")


def _expect(name: str, x: Tensor, shape: list[int], like: Tensor) -> None:
    if list(x.shape) != shape:
        raise ValueError(f"{name}: expected {shape}, got {list(x.shape)}")
    if x.dtype != like.dtype or x.device != like.device:
        raise ValueError(f"{name}: is {x.dtype} on {x.device}, q is {like.dtype} on {like.device}")
