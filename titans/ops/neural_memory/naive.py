"""The memory token by token, straight from the paper, with the inner gradients taken by autograd: the oracle.

It shares no arithmetic with the closed form: the memory and its loss are written out here once more, on purpose.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.neural_memory.state import Gate, LaggedState, MemoryState, State, Switches, by_layer, check


def naive_neural_memory(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    theta: Gate,
    eta: Gate | None,
    alpha: Gate | None,
    state: State,
    chunk_size: int = 16,
    activation: str = "gelu",
    residual: bool = False,
    loss: str = "sum",
    outer_gradient: bool = True,
    *,
    update_every: int = 1,
    read: str = "token",
    reset_momentum: bool = False,
    ascent: bool = False,
    written: tuple[int, ...] | None = None,
    gain: bool = False,
) -> tuple[Tensor, State]:
    """Write and read the memory one token after the other; arguments, result and errors as of `neural_memory`.

    Time and memory grow with time x weights: for tests and for checking faster forms.
    """
    form = (activation, residual, loss, outer_gradient)
    how = Switches(chunk_size, *form, update_every, read, reset_momentum, ascent, written, gain)
    check(q, k, v, theta, eta, alpha, state, how)
    gates = [by_layer(gate, len(state.weights)) for gate in (theta, eta, alpha)]
    weights, momentum = state.weights, state.momentum
    lagged = state.lagged if isinstance(state, LaggedState) else weights
    outputs = []
    with torch.enable_grad():
        for t in range(q.shape[2]):
            if t % chunk_size == 0:  # the inner gradient looks at the weights that the last chunk ended with
                older, lagged = lagged, weights
                # aliases: k and v may themselves have been read from these weights, and are constants to the inner loss
                anchor = tuple(w.view_as(w) if w.requires_grad else w.detach().requires_grad_() for w in weights)
                if reset_momentum:
                    momentum = tuple(torch.zeros_like(m) for m in momentum)
            gradients = _surprise(anchor, k[:, :, t], v[:, :, t], how)
            moved = [_step(gates, t, i, weights[i], momentum[i], gradients[i], how) for i in range(len(weights))]
            weights, momentum = tuple(w for w, _ in moved), tuple(m for _, m in moved)
            outputs.append(_memory({"token": weights, "chunk": lagged, "previous": older}[read], q[:, :, t], how))
    y = torch.stack(outputs, 2)
    end = LaggedState(weights, momentum, lagged) if read == "previous" else MemoryState(weights, momentum)
    return (y, end) if torch.is_grad_enabled() else (y.detach(), _detached(end))


def _memory(weights: tuple[Tensor, ...], x: Tensor, how: Switches) -> Tensor:
    """M(x) of one token, x `[batch, heads, dim]`."""
    *matrices, last = weights
    matrices = matrices if how.gain else [*matrices, last]
    h = torch.einsum("bhoi,bhi->bho", matrices[0], x)
    for w in matrices[1:]:
        h = torch.einsum("bhoi,bhi->bho", w, getattr(F, how.activation)(h))
    if not how.residual:
        return h
    return x + F.layer_norm(h, h.shape[-1:], eps=1e-5) * (1 + last if how.gain else 1)


def _surprise(anchor: tuple[Tensor, ...], k: Tensor, v: Tensor, how: Switches) -> tuple[Tensor, ...]:
    """Gradient of the inner loss of one token by every weight."""
    squares = (_memory(anchor, k, how) - v).square()
    total = {"sum": squares.sum(), "mean": squares.mean(-1).sum(), "half": 0.5 * squares.sum()}[how.loss]
    gradients = torch.autograd.grad(-total if how.ascent else total, anchor, create_graph=how.outer_gradient)
    return gradients if how.outer_gradient else tuple(g.detach() for g in gradients)


def _step(
    gates: list[tuple[Tensor | None, ...]], t: int, layer: int, w: Tensor, m: Tensor, gradient: Tensor, how: Switches
) -> tuple[Tensor, Tensor]:
    """A layer's weights and momentum after token t."""
    if how.written is not None and layer not in how.written:
        return w, m
    theta, eta, alpha = (_at(gate[layer], t, w) for gate in gates)
    first, last = t % how.chunk_size % how.update_every == 0, (t % how.chunk_size + 1) % how.update_every == 0
    m = (eta * m if first else m) - theta * gradient
    return ((1 - alpha) * w + m if last else w), m


def _at(gate: Tensor | None, t: int, like: Tensor) -> Tensor | float:
    """Gate of token t, to multiply a layer's weights with; a gate that is off is 0."""
    if gate is None:
        return 0.0
    at = gate[:, :, t]
    return at.unsqueeze(2) if at.dim() == 3 else at.reshape(*at.shape, *[1] * (like.dim() - 2))


def _detached(state: State) -> State:
    return type(state)(*(tuple(x.detach() for x in part) for part in state))
