"""What goes on inside the memory while it is written: its surprise, gates and weights, and how stale its gradients are.

Inside a chunk the gradients are taken at the weights that the chunk started with, and the closed form never has those
that a token finds. So the memory is written here token by token, by the rule of the naive form, with the gradients by
hand: one state is held, and time grows with time x weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from titans.ops.neural_memory.mlp import Write, inner_gradient, loss_slope, read_memory
from titans.ops.neural_memory.naive import step
from titans.ops.neural_memory.state import Gate, MemoryState, State, Switches, by_layer


class Inside(NamedTuple):
    """Figures of every token: `[batch, layers, heads, time]`, but for the loss, which all layers share.

    The layers are the operator's: the matrices, then the gain if there is one. A layer that is not written has NaN
    everywhere but in `weight_norm`. Gradients are of the inner loss alone, before the step size.

    Attributes:
        loss: At the weights that the token's gradient is taken at, `[batch, heads, time]`.
        gradient_norm: Of that gradient: the momentary surprise.
        theta, eta, alpha: The gates; the mean of those that have channels; 0 for one that is off.
        weight_norm: Of the weights that the token finds; of a gain's own value, which is 1 + its weights.
        staleness: ||taken - true|| / ||true||, where the true gradient is at the weights that the token finds.
    """

    loss: Tensor
    gradient_norm: Tensor
    theta: Tensor
    eta: Tensor
    alpha: Tensor
    weight_norm: Tensor
    staleness: Tensor


class _Figures(NamedTuple):
    """Those of `Inside` that depend on the weights."""

    loss: Tensor
    gradient_norm: Tensor
    weight_norm: Tensor
    staleness: Tensor


@torch.no_grad()
def look_inside(
    k: Tensor, v: Tensor, theta: Gate, eta: Gate | None, alpha: Gate | None, state: State, how: Switches
) -> Inside:
    """The figures of the tokens that a call of `neural_memory` with these arguments and switches writes."""
    gates = [by_layer(gate, len(state.weights)) for gate in (theta, eta, alpha)]
    figures = _Figures(*(torch.cat(x, -1) for x in zip(*_walk(k, v, gates, state, how), strict=True)))
    layers = [torch.stack([_mean(gate, k) for gate in of_layers], 1) for of_layers in gates]
    step_size, momentum, forgetting = (_only_written(x, how) for x in layers)
    return Inside(
        loss=figures.loss,
        gradient_norm=_only_written(figures.gradient_norm, how),
        theta=step_size,
        eta=momentum,
        alpha=forgetting,
        weight_norm=figures.weight_norm,
        staleness=_only_written(figures.staleness, how),
    )


def join(parts: list[Inside]) -> Inside:
    """Figures of stretches of time, one after the other."""
    return Inside(*(torch.cat(figures, -1) for figures in zip(*parts, strict=True)))


def weight_norms(weights: tuple[Tensor, ...], gain: bool) -> Tensor:
    """Norm of each layer's weights `[..., heads, d_out, d_in]`: `[..., layers, heads]`; `gain`: the last are one."""
    matrices = weights[:-1] if gain else weights
    norms = [w.flatten(-2).norm(dim=-1) for w in matrices]
    return torch.stack([*norms, (1 + weights[-1]).norm(dim=-1)] if gain else norms, -2)


def _walk(
    k: Tensor, v: Tensor, gates: list[tuple[Tensor | None, ...]], state: State, how: Switches
) -> Iterator[_Figures]:
    """The figures of each token; time has length 1 in them."""
    form = (how.activation, how.residual, how.loss, how.gain)
    for t, (k_t, v_t) in enumerate(zip(k.split(1, 2), v.split(1, 2), strict=True)):
        if t % how.chunk_size == 0:
            anchor = state.weights
            if how.reset_momentum:
                state = state._replace(momentum=tuple(torch.zeros_like(m) for m in state.momentum))
        taken, true = (inner_gradient(weights, k_t, v_t, *form) for weights in (anchor, state.weights))
        yield _Figures(
            loss=_loss(anchor, k_t, v_t, how),
            gradient_norm=torch.stack([_norm(write) for write in taken], 1),
            weight_norm=weight_norms(state.weights, how.gain)[..., None],
            staleness=torch.stack([_staleness(*pair) for pair in zip(taken, true, strict=True)], 1),
        )
        state = _moved(gates, t, state, taken, how)


def _moved(
    gates: list[tuple[Tensor | None, ...]], t: int, state: State, taken: list[Write], how: Switches
) -> MemoryState:
    """The state after token t."""
    gradients = [_gradient(write) * (-1 if how.ascent else 1) for write in taken]
    layers = enumerate(zip(state.weights, state.momentum, gradients, strict=True))
    moved = [step(gates, t, layer, *tensors, how) for layer, tensors in layers]
    return MemoryState(*zip(*moved, strict=True))


def _loss(weights: tuple[Tensor, ...], k: Tensor, v: Tensor, how: Switches) -> Tensor:
    """The inner loss, `[batch, heads, time]`."""
    error = read_memory(weights, k, how.activation, how.residual, how.gain) - v
    return error.square().sum(-1) * (loss_slope(how.loss, v.shape[-1]) / 2)


def _mean(gate: Tensor | None, k: Tensor) -> Tensor:
    """A layer's gate `[batch, heads, time]`: the mean over its channels, 0 where it is off."""
    if gate is None:
        return torch.zeros_like(k[..., 0])
    return gate.mean(-1) if gate.dim() == 4 else gate


def _only_written(x: Tensor, how: Switches) -> Tensor:
    """NaN for layers that are not written."""
    written = torch.tensor([how.writes(layer) for layer in range(x.shape[1])], device=x.device)
    return torch.where(written[:, None, None], x, torch.nan)


def _gradient(write: Write) -> Tensor:
    """A token's gradient by a layer's weights, shaped like these."""
    return write.delta.squeeze(-2) if write.x is None else write.delta.mT * write.x


def _norm(write: Write) -> Tensor:
    """Norm of a token's gradient by a layer's weights."""
    norm = write.delta.norm(dim=-1)
    return norm if write.x is None else norm * write.x.norm(dim=-1)


def _staleness(taken: Write, true: Write) -> Tensor:
    """Distance of two gradients over the norm of the second; 0 where there is none."""
    change = taken.delta - true.delta
    squares = change.square().sum(-1)
    if taken.x is not None:
        assert true.x is not None
        # delta' x'^T - delta x^T = change x'^T + delta turn^T: no difference of large numbers, so float32 does
        turn = taken.x - true.x
        squares = squares * taken.x.square().sum(-1) + true.delta.square().sum(-1) * turn.square().sum(-1)
        squares = squares + 2 * (change * true.delta).sum(-1) * (taken.x * turn).sum(-1)
    distance = squares.clamp(min=0).sqrt()
    return torch.where(distance == 0, 0.0, distance / _norm(true))
