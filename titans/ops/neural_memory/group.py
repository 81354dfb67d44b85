"""A group of chunks one after the other, forward and backward, in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from titans.ops.neural_memory.coefficients import stacked_coefficients
from titans.ops.neural_memory.step import Decay, Form, Gradients, Kept, backward_step, forward_step


class Gates(NamedTuple):
    """Of a layer, `[batch, heads, time]` each; None: off."""

    theta: Tensor
    eta: Tensor | None
    alpha: Tensor | None


def gates_of(three: Iterable[Tensor | None]) -> Gates:
    """From theta, eta and alpha."""
    theta, eta, alpha = three
    assert theta is not None
    return Gates(theta, eta, alpha)


class FastState(NamedTuple):
    """Weights and momentum, or the gradients by them, layer by layer, `[N, O, I]`."""

    weights: list[Tensor]
    momentum: list[Tensor]


class Tape(NamedTuple):
    """What the backward pass needs of a chunk: the state before it and its products."""

    state: FastState
    kept: Kept


class GroupBack(NamedTuple):
    """Gradients of a group: by q, k and v (None: none), by each layer's decays, stacked, and by the state before it."""

    tokens: tuple[Tensor, Tensor | None, Tensor | None]
    decays: list[Decay]
    state: FastState


ForwardStep = Callable[..., tuple[Tensor, list[Tensor], list[Tensor], Kept]]
BackwardStep = Callable[..., Gradients]
Tokens = tuple[Tensor, ...]  # q, k and v, [N, chunks * C, D]


def chunk_decay(gates: Gates, size: int, update_every: int) -> Decay:
    """What a layer's gates `[batch, heads, time]` of whole chunks come to, stacked over them: `[chunks, N, ...]`."""
    c = stacked_coefficients(*gates, size, update_every)
    assert c.mask is not None
    whole = (c.whole.start, c.whole.drift, c.whole.into_weights, c.whole.into_momentum, c.whole.decay)
    return Decay(*(x.flatten(1, 2) for x in (c.mask, *whole)))


def chunk_decay_back(gates: Gates, size: int, update_every: int, gradient: Decay) -> Gates:
    """From the gradients by what `chunk_decay` gives, those by the gates."""
    given = [gate for gate in gates if gate is not None]

    def placed(given: Iterable[Tensor]) -> Gates:
        rest = iter(given)
        return gates_of(None if gate is None else next(rest) for gate in gates)

    return placed(torch.func.vjp(lambda *given: chunk_decay(placed(given), size, update_every), *given)[1](gradient))


def forward_group(
    form: Form, reset_momentum: bool, decays: list[Decay], tokens: Tokens, state: FastState, keep: bool,
    step: ForwardStep = forward_step,
) -> tuple[Tensor, FastState, list[Tape] | None]:  # fmt: skip
    """Write and read chunk by chunk.

    Args:
        form: Of the memory.
        reset_momentum: Each chunk starts without.
        decays: Of each layer, stacked over the chunks: `[chunks, N, ...]`.
        tokens: Of whole chunks.
        state: Before the first chunk.
        keep: Whether there will be a backward pass.
        step: `forward_step`, or what computes the same.

    Returns:
        What was read, like q; the state after the last chunk; what the backward pass needs.
    """
    read, tapes = [], []
    for number, chunk in enumerate(_chunks(tokens, decays)):
        if reset_momentum:
            state = FastState(state.weights, [torch.zeros_like(s) for s in state.momentum])
        y, weights, momentum, kept = step(form, *state, _at(decays, number), *chunk)
        read.append(y)
        if keep:
            tapes.append(Tape(state, kept))
        state = FastState(weights, momentum)
    return torch.cat(read, 1), state, tapes if keep else None


def backward_group(
    form: Form, reset_momentum: bool, decays: list[Decay], tokens: Tokens, tapes: list[Tape], dy: Tensor,
    dstate: FastState, step: BackwardStep = backward_step,
) -> GroupBack:  # fmt: skip
    """Back through the chunks of `forward_group`, from the gradients by what was read and by the state after it."""
    backs: list[Gradients] = []
    chunks = list(zip(_chunks(tokens, decays), dy.split(_size(decays), 1), tapes, strict=True))
    for number in reversed(range(len(chunks))):
        chunk, dy_chunk, tape = chunks[number]
        q, k, v = chunk
        back = step(form, *tape.state, _at(decays, number), q, k, v, tape.kept, dy_chunk, *dstate)
        dmomentum = [torch.zeros_like(s) for s in back.momentum] if reset_momentum else back.momentum
        dstate = FastState(back.weights, dmomentum)
        backs.insert(0, back._replace(weights=[], momentum=[]))  # those of all chunks would be as large as the tape
    by_layer = zip(*(back.decays for back in backs), strict=True)
    stacked = [Decay(*(torch.stack(x) for x in zip(*of_layer, strict=True))) for of_layer in by_layer]
    tokens_back = (_joined([getattr(back, name) for back in backs]) for name in ("q", "k", "v"))
    return GroupBack(tuple(tokens_back), stacked, dstate)  # type: ignore[arg-type]


def _chunks(tokens: Tokens, decays: list[Decay]) -> list[Tokens]:
    """q, k and v of each chunk."""
    return list(zip(*(x.split(_size(decays), 1) for x in tokens), strict=True))


def _size(decays: list[Decay]) -> int:
    """Tokens a chunk."""
    return decays[0].mask.shape[-1]


def _at(decays: list[Decay], chunk: int) -> list[Decay]:
    """Those of one chunk, layer by layer."""
    return [Decay(*(x[chunk] for x in decay)) for decay in decays]


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    whole = [part for part in parts if part is not None]
    return torch.cat(whole, 1) if whole else None
