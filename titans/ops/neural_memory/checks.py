"""The checks on the arguments of the memory operator: each `ValueError` names the argument that is wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from titans.ops.arguments import expect
from titans.ops.neural_memory.state import Gate, State, Switches

ACTIVATIONS = ("gelu", "silu", "relu")
LOSSES = ("sum", "mean", "half")
READS = ("token", "chunk", "previous")
OBJECTIVES = ("l2", "lp", "huber", "dot")
OPTIMIZERS = ("gd", "muon")


def check(
    q: Tensor, k: Tensor, v: Tensor, theta: Gate, eta: Gate | None, alpha: Gate | None, state: State,
    switches: Switches, opening: State | None = None, threshold: Tensor | None = None, gamma: Tensor | None = None,
    recent: tuple[Tensor, ...] | None = None,
) -> None:  # fmt: skip
    """Raise a `ValueError` where the arguments do not fit together; `neural_memory` states their shapes `[...]`.

    The range of the gates is checked on a CPU only. On a GPU, looking at the values would stall the stream.
    """
    if q.dim() != 4 or not q.is_floating_point():
        raise ValueError(f"q: expected floating-point [batch, heads, time, dim], got {q.dtype} {list(q.shape)}")
    if state is None:
        raise ValueError("state: is None; give one, such as MemoryState.initial(depth, expansion, dim=..., heads=...)")
    if theta is None:
        raise ValueError("theta: is None; a memory needs a step size, and zeros mean that it learns nothing")
    for name, x in (("k", k), ("v", v)):
        expect(name, x, q, *q.shape, reference="q")
    if q.shape[2] < 1:
        raise ValueError("q: a sequence has at least one token, got time 0")
    _check_switches(switches, len(state.weights))
    _check_state(state, switches.gain, q)
    if opening is not None and q.shape[2] > switches.chunk_size:
        raise ValueError(f"opening: {q.shape[2]} tokens are more than the rest of a chunk of {switches.chunk_size}")
    for name, gate in (("theta", theta), ("eta", eta), ("alpha", alpha)):
        if gate is not None:
            _check_gate(name, gate, state, switches.gain, q)
    if (threshold is not None) != (switches.objective == "huber"):
        raise ValueError("threshold: is for the objective huber, which needs one")
    if threshold is not None:
        _check_values("threshold", threshold, [list(q.shape[:3])], q, most=None)
    _check_window(switches.window, gamma, recent, (k, v) if threshold is None else (k, v, threshold))


def _check_switches(switches: Switches, layers: int) -> None:
    if switches.chunk_size < 1:
        raise ValueError(f"chunk_size: {switches.chunk_size} is below 1")
    valid = {
        "activation": ACTIVATIONS, "loss": LOSSES, "read": READS, "objective": OBJECTIVES, "optimizer": OPTIMIZERS,
    }  # fmt: skip
    for name, values in valid.items():
        if getattr(switches, name) not in values:
            raise ValueError(f"{name}: {getattr(switches, name)!r} is not one of {', '.join(values)}")
    if switches.power < 1:
        raise ValueError(f"power: {switches.power} is below 1")
    if switches.update_every < 1 or switches.chunk_size % switches.update_every:
        raise ValueError(f"update_every: {switches.update_every} does not divide chunk_size {switches.chunk_size}")
    if switches.gain and not switches.residual:
        raise ValueError("gain: is the gain of a LayerNorm, which the memory has with residual=True only")
    if switches.optimizer == "muon" and switches.gain and switches.writes(layers - 1):
        raise ValueError("optimizer: muon moves matrices; a gain is none, so leave it out of `written`")
    if switches.written is not None and not set(switches.written) <= set(range(layers)):
        raise ValueError(f"written: {switches.written} names a layer outside 0 to {layers - 1}")


def _check_window(
    window: int, gamma: Tensor | None, recent: tuple[Tensor, ...] | None, written: tuple[Tensor, ...]
) -> None:
    if window < 1:
        raise ValueError(f"window: {window} is below 1")
    if (gamma is not None) != (window > 1):
        raise ValueError("gamma: is for a window above 1, which needs it")
    if gamma is not None:
        _check_values("gamma", gamma, [[*written[0].shape[:3], window]], written[0], most=1)
    if recent is None:
        return
    if len(recent) != len(written) or recent[0].dim() != 4 or recent[0].shape[2] >= window:
        raise ValueError(
            f"recent: expected the {len(written)} tensors that are written, of at most {window - 1} tokens"
        )
    for name, x, like in zip(("k", "v", "threshold"), recent, written, strict=False):
        expect(f"recent {name}", x, like, *like.shape[:2], recent[0].shape[2], *like.shape[3:], reference=name)


def _check_state(state: State, gain: bool, q: Tensor) -> None:
    layers, (batch, heads, _, dim) = len(state.weights), q.shape
    if layers < 1 + gain or any(len(part) != layers for part in state):
        counts = " and ".join(f"{len(part)} {name}" for name, part in state._asdict().items())
        raise ValueError(f"state: has {counts}; expected one tensor of each for every layer")
    matrices = layers - gain
    for layer in range(layers):
        d_in = dim if layer == 0 else state.weights[layer - 1].shape[2]
        has_hidden = layer < matrices - 1 and state.weights[layer].dim() == 4
        d_out = state.weights[layer].shape[2] if has_hidden else dim
        shape = (batch, heads, d_out, d_in) if layer < matrices else (batch, heads, dim)
        for part, tensors in state._asdict().items():
            expect(f"state.{part}[{layer}]", tensors[layer], q, *shape, reference="q")


def _check_gate(name: str, gate: Gate, state: State, gain: bool, q: Tensor) -> None:
    layers, shape, most = len(state.weights), list(q.shape[:3]), None if name == "theta" else 1
    if isinstance(gate, Tensor):
        _check_values(name, gate, [shape, [*shape, layers]], q, most)
        return
    if len(gate) != layers:
        raise ValueError(f"{name}: has {len(gate)} gates for {layers} layers")
    for layer, of_layer in enumerate(gate):
        has_channels = name != "theta" and not (gain and layer == layers - 1)
        per_channel = [[*shape, state.weights[layer].shape[-1]]] if has_channels else []
        _check_values(f"{name}[{layer}]", of_layer, [shape, *per_channel], q, most)


def _check_values(name: str, gate: Tensor, shapes: list[list[int]], q: Tensor, most: float | None) -> None:
    if list(gate.shape) not in shapes:
        raise ValueError(f"{name}: expected {' or '.join(map(str, shapes))}, got {list(gate.shape)}")
    expect(name, gate, q, *gate.shape, reference="q")
    if gate.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if bool((gate < 0).any()):
        raise ValueError(f"{name}: has a value below 0")
    if most is not None and bool((gate > most).any()):
        raise ValueError(f"{name}: has a value above {most}")
