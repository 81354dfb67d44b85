"""Memory diagnostics: the surprise, gates and weights of every token, and how stale the gradients of a chunk are.

The closed form takes a chunk's gradients at the weights that the chunk started with, and never forms the current
weights, those just before a token's own write. So here the memory is written token by token, by the rule of the naive
form, with the gradients by hand. One state is held, and the cost grows with time x weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from titans.ops.neural_memory.mlp import Surprise, inner_gradient
from titans.ops.neural_memory.naive import step
from titans.ops.neural_memory.objective import objective_value
from titans.ops.neural_memory.state import Gate, MemoryState, State, Switches, by_layer
from titans.ops.neural_memory.window import with_halo


class MemoryDiagnostics(NamedTuple):
    """The figures of every token: `[batch, layers, heads, time]`, but for the loss, which all layers share.

    The layers are the operator's: the matrices, then the gain if there is one. A layer that is not written has NaN
    everywhere but in `weight_norm`. Gradients are those of the inner loss alone, before the step size.

    Attributes:
        loss: The inner loss at the weights that the token's gradient is taken at, `[batch, heads, time]`.
        gradient_norm: The norm of that gradient: the momentary surprise.
        theta, eta, alpha: The gates, averaged over channels where they have channels; 0 for a gate that is off.
        weight_norm: The norm of the current weights; for a gain, that of 1 + its weights, the factor that it applies.
        staleness: ||taken - true|| / ||true||, where the true gradient is at the current weights.
    """

    loss: Tensor
    gradient_norm: Tensor
    theta: Tensor
    eta: Tensor
    alpha: Tensor
    weight_norm: Tensor
    staleness: Tensor


@torch.no_grad()
def memory_diagnostics(
    k: Tensor, v: Tensor, theta: Gate, eta: Gate | None, alpha: Gate | None, state: State, switches: Switches,
    opening: State | None = None, threshold: Tensor | None = None, gamma: Tensor | None = None,
    recent: tuple[Tensor, ...] | None = None,
) -> MemoryDiagnostics:  # fmt: skip
    """Return the figures of the tokens that a call of `neural_memory` with these arguments and switches writes.

    Args:
        k, v: `[batch, heads, time, dim]`.
        theta, eta, alpha, state: Gates and state in the shapes of `neural_memory`.
        switches: How the memory is built, written and read.
        opening: The state at the start of the chunk that these tokens continue. None: the first of them starts a chunk.
        threshold: The thresholds of the objective huber, `[batch, heads, time]`.
        gamma, recent: Gates of a window, and the tokens before it reaches back to: see `neural_memory`. The figures of
            a token are those of its own loss, not of the window's.
    """
    gates = [by_layer(gate, len(state.weights)) for gate in (theta, eta, alpha)]
    written = with_halo((k, v, threshold), recent, switches.window)
    tokens = zip(*_tokens(written, gates, state, switches, opening, gamma), strict=True)
    loss, gradient_norm, weight_norm, staleness = (torch.cat(figures, -1) for figures in tokens)
    step_size, momentum, forgetting = (
        torch.stack([_channel_mean(gate, k) for gate in of_layers], 1) for of_layers in gates
    )
    return MemoryDiagnostics(
        loss=loss,
        gradient_norm=_of_written(gradient_norm, switches),
        theta=_of_written(step_size, switches),
        eta=_of_written(momentum, switches),
        alpha=_of_written(forgetting, switches),
        weight_norm=weight_norm,
        staleness=_of_written(staleness, switches),
    )


def join(parts: list[MemoryDiagnostics]) -> MemoryDiagnostics:
    """Join the figures `[..., time]` of segments of time that follow one another."""
    return MemoryDiagnostics(*(torch.cat(figures, -1) for figures in zip(*parts, strict=True)))


def weight_norms(weights: tuple[Tensor, ...], gain: bool) -> Tensor:
    """Return the norm of each layer's weights.

    Args:
        weights: `[..., heads, d_out, d_in]` for each layer; with `gain`, then the gain less 1 `[..., heads, dim]`.
        gain: Whether the last of the weights is a gain.

    Returns:
        `[..., layers, heads]`.
    """
    matrices = weights[:-1] if gain else weights
    norms = [w.flatten(-2).norm(dim=-1) for w in matrices]
    return torch.stack([*norms, (1 + weights[-1]).norm(dim=-1)] if gain else norms, -2)


def _tokens(
    written: list[Tensor], gates: list[tuple[Tensor | None, ...]], state: State, switches: Switches,
    opening: State | None, gamma: Tensor | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:  # fmt: skip
    """Yield the loss, gradient norm, weight norm and staleness of each token, with a time of length 1."""
    rows, streams = written[0].shape[:2], [x.flatten(0, 1) for x in written]
    anchor = state.weights if opening is None else opening.weights
    for t in range(streams[0].shape[1] - switches.window + 1):
        of_window = [x[:, t : t + switches.window] for x in streams]
        k_t, v_t, *bounds = (x[:, -1:] for x in of_window)
        bound = bounds[0] if bounds else None
        if t % switches.chunk_size == 0 and opening is None:
            anchor = state.weights
            if switches.reset_momentum:
                state = state._replace(momentum=tuple(torch.zeros_like(m) for m in state.momentum))
        taken, true = (_surprise(weights, [k_t, v_t, *bounds], switches) for weights in (anchor, state.weights))
        loss = objective_value(taken.answer, v_t, switches, bound)
        figures = [(_norm(taken, layer), _staleness(taken, true, layer)) for layer in range(len(anchor))]
        norm, staleness = (torch.stack(each, 1) for each in zip(*figures, strict=True))  # [N, layers, 1]
        norm, staleness = (x.unflatten(0, rows).transpose(1, 2) for x in (norm, staleness))
        yield loss.unflatten(0, rows), norm, weight_norms(state.weights, switches.gain)[..., None], staleness
        if gamma is None:
            state = _written(gates, t, state, taken, None, switches)
        else:
            state = _written(gates, t, state, _surprise(anchor, of_window, switches), gamma[:, :, t], switches)


def _surprise(weights: tuple[Tensor, ...], tokens: list[Tensor], switches: Switches) -> Surprise:
    """Return the inner gradients of tokens at some weights; the tokens are k, v and perhaps thresholds."""
    k, v, *bounds = tokens
    return inner_gradient([w.flatten(0, 1) for w in weights], k, v, switches, threshold=bounds[0] if bounds else None)


def _written(
    gates: list[tuple[Tensor | None, ...]], t: int, state: State, taken: Surprise, gamma: Tensor | None,
    switches: Switches,
) -> MemoryState:  # fmt: skip
    """Return the state after token t, from its gradient or those of its window and their gates `[..., window]`."""
    shares = 1.0 if gamma is None else gamma.flatten(0, 1).flip(-1).unsqueeze(-1)
    moved = []
    for layer, (w, m) in enumerate(zip(state.weights, state.momentum, strict=True)):
        gradient = torch.bmm((shares * taken.delta[layer]).mT, taken.x[layer]).view(w.shape)
        moved.append(step(gates, t, layer, w, m, -gradient if switches.ascent else gradient, switches))
    return MemoryState(*zip(*moved, strict=True))


def _channel_mean(gate: Tensor | None, k: Tensor) -> Tensor:
    """Return a layer's gate `[batch, heads, time]`: the mean over its channels, 0 where it is off."""
    if gate is None:
        return torch.zeros_like(k[..., 0])
    return gate.mean(-1) if gate.dim() == 4 else gate


def _of_written(x: Tensor, switches: Switches) -> Tensor:
    """Put NaN in the place of layers that are not written."""
    written = torch.tensor([switches.writes(layer) for layer in range(x.shape[1])], device=x.device)
    return torch.where(written[:, None, None], x, torch.nan)


def _norm(surprise: Surprise, layer: int) -> Tensor:
    """Return the norm of each token's gradient with respect to a layer's weights, `[N, 1]`."""
    return surprise.delta[layer].norm(dim=-1) * surprise.x[layer].norm(dim=-1)


def _staleness(taken: Surprise, true: Surprise, layer: int) -> Tensor:
    """Return the distance of two gradients over the norm of the second, `[N, 1]`; 0 where they are the same."""
    x, delta, true_delta = taken.x[layer], taken.delta[layer], true.delta[layer]
    # delta x^T - true_delta true_x^T = change x^T + true_delta turn^T: no difference of large numbers, so float32 does
    change, turn = delta - true_delta, x - true.x[layer]
    squares = change.square().sum(-1) * x.square().sum(-1) + true_delta.square().sum(-1) * turn.square().sum(-1)
    squares = squares + 2 * (change * true_delta).sum(-1) * (x * turn).sum(-1)
    distance = squares.clamp(min=0).sqrt()
    return torch.where(distance == 0, 0.0, distance / _norm(true, layer))
