"""What goes on inside the memory while it is written: its surprise, gates and weights, and how stale its gradients are.

Inside a chunk the gradients are taken at the weights that the chunk started with. The weights that a token finds are
those that the operator leaves after the chunk's tokens before it, so the operator itself is asked for them: all chunks
at once, folded into the batch, a call for each place in a chunk. That holds for every switch, and costs about half a
chunk of forward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from titans.ops.neural_memory.chunk import neural_memory
from titans.ops.neural_memory.mlp import Write, inner_gradient, loss_slope, read_memory
from titans.ops.neural_memory.state import Gate, MemoryState, State, Switches, by_layer

Operator = Callable[..., tuple[Tensor, State]]  # with the arguments of `neural_memory`

MOST_ELEMENTS = 2**22  # of the weights that are held for chunks in parallel


class Tokens(NamedTuple):
    """What is written to a memory; see `neural_memory` for the shapes. Time is the third dimension of each tensor."""

    k: Tensor
    v: Tensor
    theta: Gate
    eta: Gate | None
    alpha: Gate | None

    def each(self, change: Callable[[Tensor], Tensor]) -> Tokens:
        """All tensors, changed."""
        return Tokens(*(_each(part, change) for part in self))  # type: ignore[arg-type]

    def cut(self, begin: int, end: int) -> Tokens:
        """Those from `begin` up to `end`."""
        return self.each(lambda x: x[:, :, begin:end])


class Inside(NamedTuple):
    """Figures of every token: `[batch, layers, heads, time]`, but for the loss, which all layers share.

    The layers are the operator's: the matrices, then the gain if there is one. A layer that is not written has NaN
    everywhere but in `weight_norm`. Gradients are of the inner loss alone, before the step size.

    Attributes:
        loss: At the weights that the token's gradient is anchored at, `[batch, heads, time]`.
        gradient_norm: Of that gradient: the momentary surprise.
        theta, eta, alpha: The gates; the mean of those that have channels; 0 for one that is off.
        weight_norm: Of the weights that the token finds; of a gain's own value, which is 1 + its weights.
        staleness: ||anchored - true|| / ||true||, where the true gradient is at the weights that the token finds.
    """

    loss: Tensor
    gradient_norm: Tensor
    theta: Tensor
    eta: Tensor
    alpha: Tensor
    weight_norm: Tensor
    staleness: Tensor


@torch.no_grad()
def look_inside(tokens: Tokens, state: State, how: Switches, operator: Operator = neural_memory) -> Inside:
    """The figures of the tokens that a call of the operator writes.

    Args:
        tokens: What the call writes.
        state: What it starts from.
        how: Its switches.
        operator: What writes, as `neural_memory`.
    """
    batch, _, time, _ = tokens.k.shape
    parts = []
    for begin, end in pairwise(_edges(time, how.chunk_size, sum(w.numel() for w in state.weights))):
        part = tokens.cut(begin, end)
        starts, state = _starts(part, state, how, operator)
        folded = part.each(lambda x: torch.cat(x.split(how.chunk_size, 2)))
        found = join(list(_places(folded, starts, how, operator)))
        parts.append(Inside(*(torch.cat(x.split(batch), -1) for x in found)))
    return join(parts)


def join(parts: list[Inside]) -> Inside:
    """Figures of stretches of time, one after the other."""
    return Inside(*(torch.cat(figures, -1) for figures in zip(*parts, strict=True)))


def weight_norms(weights: tuple[Tensor, ...], gain: bool) -> Tensor:
    """Norm of each layer's weights `[..., heads, d_out, d_in]`: `[..., layers, heads]`; `gain`: the last are one."""
    matrices = weights[:-1] if gain else weights
    norms = [w.flatten(-2).norm(dim=-1) for w in matrices]
    return torch.stack([*norms, (1 + weights[-1]).norm(dim=-1)] if gain else norms, -2)


def _each(part: Gate | None, change: Callable[[Tensor], Tensor]) -> Gate | None:
    if part is None:
        return None
    return tuple(map(change, part)) if isinstance(part, tuple) else change(part)


def _edges(time: int, size: int, elements: int) -> list[int]:
    """Where the time is cut: groups of whole chunks that fit, then the rest."""
    whole = time - time % size
    return sorted({*range(0, whole, size * max(1, MOST_ELEMENTS // elements)), whole, time})


def _starts(tokens: Tokens, state: State, how: Switches, operator: Operator) -> tuple[State, State]:
    """The states that the chunks start with, one after the other along the batch; and the state after them."""
    states = []
    for begin in range(0, tokens.k.shape[2], how.chunk_size):
        states.append(state)
        state = _after(tokens.cut(begin, begin + how.chunk_size), state, how, operator)
    weights, momentum = ([getattr(each, part) for each in states] for part in MemoryState._fields)
    return MemoryState(*(tuple(map(torch.cat, zip(*part, strict=True))) for part in (weights, momentum))), state


def _after(tokens: Tokens, state: State, how: Switches, operator: Operator) -> State:
    return operator(tokens.k, *tokens, state, **how._asdict())[1]


def _places(tokens: Tokens, state: State, how: Switches, operator: Operator) -> Iterator[Inside]:
    """The figures of each token of a chunk that starts with `state`."""
    weights = state.weights
    for place in range(tokens.k.shape[2]):
        if place:
            weights = _after(tokens.cut(0, place), state, how, operator).weights
        yield _of_token(tokens.cut(place, place + 1), state.weights, weights, how)


def _of_token(token: Tokens, anchor: tuple[Tensor, ...], weights: tuple[Tensor, ...], how: Switches) -> Inside:
    """The figures of one token that finds `weights` and has its gradient taken at `anchor`."""
    form = (how.activation, how.residual)
    taken, true = (inner_gradient(w, token.k, token.v, *form, how.loss, how.gain) for w in (anchor, weights))
    squares = (read_memory(anchor, token.k, *form, how.gain) - token.v).square().sum(-1)
    norms = torch.stack([_norm(write) for write in taken], 1)
    stale = torch.stack([_staleness(*pair) for pair in zip(taken, true, strict=True)], 1)
    gates = [torch.zeros_like(norms) if gate is None else _gates(gate, len(weights)) for gate in token[2:]]
    theta, eta, alpha = (_only_written(x, how) for x in gates)
    return Inside(
        loss=squares * loss_slope(how.loss, token.v.shape[-1]) / 2,
        gradient_norm=_only_written(norms, how),
        theta=theta,
        eta=eta,
        alpha=alpha,
        weight_norm=weight_norms(weights, how.gain)[..., None],
        staleness=_only_written(stale, how),
    )


def _gates(gate: Gate, layers: int) -> Tensor:
    """`[batch, layers, heads, time]`, the mean over channels."""
    sets = [x for x in by_layer(gate, layers) if x is not None]
    return torch.stack([x.mean(-1) if x.dim() == 4 else x for x in sets], 1)


def _only_written(x: Tensor, how: Switches) -> Tensor:
    """NaN for layers that are not written."""
    kept = torch.tensor([how.writes(layer) for layer in range(x.shape[1])], device=x.device)
    return torch.where(kept[:, None, None], x, torch.nan)


def _norm(write: Write) -> Tensor:
    """Norm of the gradient delta x^T."""
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
