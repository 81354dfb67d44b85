"""The reference implementation: the memory token by token, as the paper prints it, with inner gradients by autograd.

It shares no arithmetic with the closed form. So the memory and its loss are written out here a second time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.neural_memory.checks import check
from titans.ops.neural_memory.state import Gate, LaggedState, MemoryState, State, Switches, by_layer


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
    objective: str = "l2",
    power: float = 3.0,
    threshold: Tensor | None = None,
    window: int = 1,
    gamma: Tensor | None = None,
    recent: tuple[Tensor, ...] | None = None,
    optimizer: str = "gd",
    opening: State | None = None,
) -> tuple[Tensor, State]:
    """Write and read the memory one token after the other.

    Arguments, result and errors are those of `neural_memory`: q, k and v are `[batch, heads, time, dim]`. The cost in
    time and memory grows with time x weights, so this form is for tests and for checking faster ones.
    """
    form = (activation, residual, loss, outer_gradient)
    switches = Switches(
        chunk_size, *form, update_every, read, reset_momentum, ascent, written, gain, objective, power, window,
        optimizer,
    )  # fmt: skip
    check(q, k, v, theta, eta, alpha, state, switches, opening, threshold, gamma, recent)
    gates = [by_layer(gate, len(state.weights)) for gate in (theta, eta, alpha)]
    weights, momentum = state.weights, state.momentum
    lagged = state.lagged if isinstance(state, LaggedState) else weights
    seen = _by_token(recent or ())  # k, v and threshold of every token so far
    outputs = []
    with torch.enable_grad():
        if opening is not None:
            older, lagged = opening.lagged if isinstance(opening, LaggedState) else opening.weights, opening.weights
            anchor = _constants(lagged)
        for t in range(q.shape[2]):
            if t % chunk_size == 0 and opening is None:
                older, lagged = lagged, weights  # the inner gradient looks at what the last chunk ended with
                anchor = _constants(weights)
                if reset_momentum:
                    momentum = tuple(torch.zeros_like(m) for m in momentum)
            seen.append((k[:, :, t], v[:, :, t]) if threshold is None else (k[:, :, t], v[:, :, t], threshold[:, :, t]))
            gradients = _surprise_of_window(anchor, seen, None if gamma is None else gamma[:, :, t], switches)
            moved = [step(gates, t, i, weights[i], momentum[i], gradients[i], switches) for i in range(len(weights))]
            weights, momentum = tuple(w for w, _ in moved), tuple(m for _, m in moved)
            outputs.append(_memory({"token": weights, "chunk": lagged, "previous": older}[read], q[:, :, t], switches))
    y = torch.stack(outputs, 2)
    end = LaggedState(weights, momentum, lagged) if read == "previous" else MemoryState(weights, momentum)
    if torch.is_grad_enabled():
        return y, end
    return y.detach(), type(end)(*(tuple(x.detach() for x in part) for part in end))


def _constants(weights: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return aliases of weights: k and v may have been read from them, and are constants to the inner loss."""
    return tuple(w.view_as(w) if w.requires_grad else w.detach().requires_grad_() for w in weights)


def step(
    gates: list[tuple[Tensor | None, ...]],
    t: int,
    layer: int,
    w: Tensor,
    m: Tensor,
    gradient: Tensor,
    switches: Switches,
) -> tuple[Tensor, Tensor]:
    """Return a layer's weights and momentum after token t.

    Args:
        gates: theta, eta and alpha for each layer, `[batch, heads, time]` or `[batch, heads, time, d_in]`.
        t: The token's place in the sequence, which starts a chunk.
        layer: The layer, counted from 0.
        w, m: The layer's weights and momentum before the token, `[batch, heads, d_out, d_in]` or `[batch, heads, dim]`.
        gradient: The token's gradient with respect to the weights, in their shape.
        switches: How the memory is built, written and read.
    """
    if not switches.writes(layer):
        return w, m
    theta, eta, alpha = (_at(gate[layer], t, w) for gate in gates)
    place = t % switches.chunk_size
    if switches.optimizer == "muon":
        first = t - place % switches.update_every
        steps = gates[0][layer]
        assert steps is not None
        group = steps[:, :, first : first + switches.update_every].sum(2)[..., None, None]
        m = (eta * m if t == first else m) - theta / group.clamp(min=torch.finfo(m.dtype).tiny) * gradient
        last = t == first + switches.update_every - 1
        return ((1 - alpha) * w + group * _orthogonal(m) if last else w), m
    m = (eta * m if place % switches.update_every == 0 else m) - theta * gradient
    return ((1 - alpha) * w + m if (place + 1) % switches.update_every == 0 else w), m


def _orthogonal(m: Tensor) -> Tensor:
    """Return Muon's five Newton-Schulz steps on a momentum `[batch, heads, d_out, d_in]`."""
    x = m / torch.sqrt((m * m).sum((-2, -1), keepdim=True) + 1e-14)
    for _ in range(5):
        x3 = torch.einsum("bhoi,bhpi,bhpj->bhoj", x, x, x)
        x5 = torch.einsum("bhoi,bhpi,bhpj->bhoj", x3, x, x)
        x = 3.4445 * x - 4.7750 * x3 + 2.0315 * x5
    return x


def _memory(weights: tuple[Tensor, ...], x: Tensor, switches: Switches) -> Tensor:
    """Return M(x) of one token, x `[batch, heads, dim]`."""
    *matrices, last = weights
    matrices = matrices if switches.gain else [*matrices, last]
    h = torch.einsum("bhoi,bhi->bho", matrices[0], x)
    for w in matrices[1:]:
        h = torch.einsum("bhoi,bhi->bho", w, getattr(F, switches.activation)(h))
    if not switches.residual:
        return h
    return x + F.layer_norm(h, h.shape[-1:], eps=1e-5) * (1 + last if switches.gain else 1)


def _by_token(written: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    """Return what each token writes, from k, v and perhaps thresholds `[batch, heads, time, ...]`."""
    return list(zip(*(x.unbind(2) for x in written), strict=True))


def _surprise_of_window(
    anchor: tuple[Tensor, ...], seen: list[tuple[Tensor, ...]], gamma: Tensor | None, switches: Switches
) -> tuple[Tensor, ...]:
    """Return the sum over the window of the tokens' gradients, each times its gate, gamma `[batch, heads, window]`."""
    if gamma is None:
        return _surprise(anchor, *seen[-1], switches=switches)
    total = tuple(torch.zeros_like(w) for w in anchor)
    for written, gate in zip(reversed(seen), gamma.unbind(-1), strict=False):
        gradients = _surprise(anchor, *written, switches=switches)
        total = tuple(
            s + gate.reshape(*gate.shape, *[1] * (g.dim() - 2)) * g for s, g in zip(total, gradients, strict=True)
        )
    return total


def _surprise(
    anchor: tuple[Tensor, ...], k: Tensor, v: Tensor, threshold: Tensor | None = None, *, switches: Switches
) -> tuple[Tensor, ...]:
    """Return the gradient of the inner loss of one token by every weight."""
    total = _objective(_memory(anchor, k, switches), v, threshold, switches).sum()
    total = {"sum": total, "mean": total / v.shape[-1], "half": 0.5 * total}[switches.loss]
    signed = -total if switches.ascent else total
    gradients = torch.autograd.grad(signed, anchor, create_graph=switches.outer_gradient)
    return gradients if switches.outer_gradient else tuple(g.detach() for g in gradients)


def _objective(answer: Tensor, v: Tensor, threshold: Tensor | None, switches: Switches) -> Tensor:
    """Return what a write minimises, for the memory's answer and v `[batch, heads, dim]`, each sequence and head's."""
    error = answer - v
    if switches.objective == "lp":
        return torch.sqrt(error**2 + 1e-6).pow(switches.power).sum(-1)
    if switches.objective == "dot":
        return -2 * torch.einsum("bhd,bhd->bh", answer, v)
    squared = torch.einsum("bhd,bhd->bh", error, error)
    if threshold is None:
        return squared
    far = squared > threshold**2
    norm = torch.where(far, squared, 1.0).sqrt()  # at an error of 0 a norm has no derivative
    return torch.where(far, 2 * threshold * norm - threshold**2, squared)


def _at(gate: Tensor | None, t: int, w: Tensor) -> Tensor | float:
    """Return the gate of token t in a shape that multiplies the weights w; 0 for a gate that is off."""
    if gate is None:
        return 0.0
    at = gate[:, :, t]
    return at.unsqueeze(2) if at.dim() == 3 else at.reshape(*at.shape, *[1] * (w.dim() - 2))
