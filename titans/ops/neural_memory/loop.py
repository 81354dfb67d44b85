"""The loop over chunks as one differentiable operation: what it keeps for its backward pass is chosen, not taped.

Kept are the state before each chunk and the chunk's products, as long as these fit a budget of bytes. Beyond, chunks go
in groups of about the square root of their number: kept is the state before each group, and a group's chunks are gone
through once more when the backward pass comes to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from titans.ops.neural_memory.coefficients import stacked_coefficients
from titans.ops.neural_memory.mlp import loss_slope
from titans.ops.neural_memory.state import Gate, MemoryState, State, Switches, by_layer
from titans.ops.neural_memory.step import Decay, Form, Kept, backward_step, forward_step

MEMORY_BUDGET = 512 * 2**20  # bytes a call may keep; at depth 2 that is far more than a sequence of 4,096 tokens needs


GatePlaces = tuple[int, int | None, int | None]


class Plan(NamedTuple):
    """How a sequence is gone through.

    Attributes:
        form: Of the memory.
        chunk_size, update_every, reset_momentum, ascent: See `neural_memory`.
        gates: Of each layer: the places of its theta, eta and alpha among the gates, None where it has none.
        group: Chunks gone through together.
        keeps: Whether their products are kept, or come from going through them once more.
    """

    form: Form
    chunk_size: int
    update_every: int
    reset_momentum: bool
    ascent: bool
    gates: tuple[GatePlaces, ...]
    group: int
    keeps: bool

    def parts(self, time: int) -> Iterator[tuple[int, int, int]]:
        """Begin, end and chunk size of each group; a shorter last chunk is one of its own."""
        whole = time - time % self.chunk_size
        length = self.group * self.chunk_size
        for begin in range(0, whole, length):
            yield begin, min(begin + length, whole), self.chunk_size
        if whole < time:
            yield whole, time, time - whole


class Tape(NamedTuple):
    """What the backward pass needs of a chunk."""

    weights: list[Tensor]
    momentum: list[Tensor]
    kept: Kept


class Tokens(NamedTuple):
    """q, k and v `[batch * heads, time, dim]`."""

    q: Tensor
    k: Tensor
    v: Tensor

    def cut(self, begin: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """Those of a stretch."""
        return self.q[:, begin:end], self.k[:, begin:end], self.v[:, begin:end]


def is_plain(how: Switches, eta: Gate | None, alpha: Gate | None) -> bool:
    """Whether `chunk_loop` can do a call: most there are."""
    shared = not any(isinstance(gate, tuple) and any(x.dim() == 4 for x in gate) for gate in (eta, alpha))
    return how.read == "token" and how.written is None and not how.gain and shared


def chunk_loop(
    tokens: Sequence[Tensor], gates: tuple[Gate, Gate | None, Gate | None], state: State, how: Switches, budget: int
) -> tuple[Tensor, MemoryState]:
    """`neural_memory` of tokens (q, k, v) and gates (theta, eta, alpha), where `is_plain` holds.

    `budget`: Bytes that may be kept for the backward pass.
    """
    q, layers = tokens[0], len(state.weights)
    unique, places = _unique([by_layer(gate, layers) for gate in gates])
    form = Form(how.activation, how.residual, loss_slope(how.loss, q.shape[-1]), how.outer_gradient)
    group, keeps = _policy(budget, -(-q.shape[2] // how.chunk_size), *_sizes(q, state, how.chunk_size))
    plan = Plan(form, how.chunk_size, how.update_every, how.reset_momentum, how.ascent, places, group, keeps)
    flat = (x.flatten(0, 1) for x in (*tokens, *state.weights, *state.momentum))
    outputs = ChunkLoop.apply(plan, len(unique), *unique, *flat)  # type: ignore[no-untyped-call]
    y, *end = (x.unflatten(0, q.shape[:2]) for x in outputs)
    return y, MemoryState(tuple(end[:layers]), tuple(end[layers:]))


def _unique(gates: list[tuple[Tensor | None, ...]]) -> tuple[list[Tensor], tuple[GatePlaces, ...]]:
    """The gates without repetition, and for each layer the places of its theta, eta and alpha among them."""
    unique: dict[int, Tensor] = {id(x): x for of_layers in gates for x in of_layers if x is not None}
    place = {None: None} | {key: number for number, key in enumerate(unique)}
    theta, eta, alpha = ([place[None if x is None else id(x)] for x in of_layers] for of_layers in gates)
    return list(unique.values()), tuple(zip(theta, eta, alpha, strict=True))  # type: ignore[arg-type]


def _sizes(q: Tensor, state: State, chunk_size: int) -> tuple[int, int]:
    """Bytes of the state before a chunk, and of the chunk's products."""
    rows = q.shape[0] * q.shape[1]
    outputs = [w.shape[-2] for w in state.weights]
    products = chunk_size * (3 * sum(outputs) - outputs[-1])
    return 2 * q.element_size() * sum(w.numel() for w in state.weights), q.element_size() * rows * products


def _policy(budget: int, chunks: int, state: int, products: int) -> tuple[int, bool]:
    """Chunks a group, and whether all that they need is kept."""
    if chunks * (state + products) <= budget:
        return chunks, True
    return max(1, round(math.sqrt(chunks * state / (state + products)))), False


class ChunkLoop(torch.autograd.Function):
    """Gates `[batch, heads, time]`, tokens `[batch * heads, time, dim]`, then weights and momentum of each layer."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, gates: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """What was read, then the weights and the momentum after it."""
        layers = len(plan.gates)
        tokens = Tokens(*tensors[gates : gates + 3])
        weights, momentum = list(tensors[gates + 3 : gates + 3 + layers]), list(tensors[gates + 3 + layers :])
        y, groups = torch.empty_like(tokens.q), []
        for begin, end, size in plan.parts(tokens.q.shape[1]):
            start = weights, momentum
            decays = _decays(plan, [g[:, :, begin:end] for g in tensors[:gates]], size)
            weights, momentum, tapes = _go(plan, decays, tokens, (begin, end, size), start, y)
            groups.append((start, tapes if plan.keeps else None))
        ctx.plan, ctx.groups, ctx.count = plan, groups if any(ctx.needs_input_grad) else [], gates
        ctx.save_for_backward(*tensors[: gates + 3])
        return (y, *weights, *momentum)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *after: Tensor) -> tuple[Any, ...]:
        """Gradients by the gates, the tokens, and the state before."""
        plan, gates, tokens = ctx.plan, ctx.saved_tensors[: ctx.count], Tokens(*ctx.saved_tensors[ctx.count :])
        layers = len(plan.gates)
        dstate = list(after[:layers]), list(after[layers:])
        dgates, dtokens = [torch.zeros_like(g) for g in gates], Tokens(*(torch.zeros_like(x) for x in tokens))
        parts = list(plan.parts(dy.shape[1]))
        for part, (start, tapes) in zip(reversed(parts), reversed(ctx.groups), strict=True):
            with torch.enable_grad():
                leaves = [g[:, :, part[0] : part[1]].detach().requires_grad_() for g in gates]
                decays = _decays(plan, leaves, part[2])
            plain = {key: Decay(*(x.detach() for x in decay)) for key, decay in decays.items()}
            if tapes is None:
                tapes = _go(plan, plain, tokens, part, start, None)[2]
            dstate, ddecays = _return(plan, plain, tokens, part, tapes, dy, dstate, dtokens)
            _to_gates(plan, decays, ddecays, leaves, [g[:, :, part[0] : part[1]] for g in dgates])
        return (None, None, *dgates, *dtokens, *dstate[0], *dstate[1])


Decays = dict[GatePlaces, Decay]  # by the gates they come from, each stacked over the chunks


def _decays(plan: Plan, gates: Sequence[Tensor], size: int) -> Decays:
    """What the gates of whole chunks come to."""
    decays = {}
    for key in dict.fromkeys(plan.gates):
        theta, eta, alpha = (None if place is None else gates[place] for place in key)
        assert theta is not None
        c = stacked_coefficients(-theta if plan.ascent else theta, eta, alpha, size, plan.update_every)
        assert c.mask is not None
        whole = (c.whole.start, c.whole.drift, c.whole.into_weights, c.whole.into_momentum, c.whole.decay)
        decays[key] = Decay(*(x.flatten(1, 2) for x in (c.mask, *whole)))
    return decays


def _of_chunk(plan: Plan, decays: Decays, chunk: int) -> list[Decay]:
    """Those of one chunk, layer by layer."""
    at = {key: Decay(*(x[chunk] for x in decay)) for key, decay in decays.items()}
    return [at[key] for key in plan.gates]


def _go(
    plan: Plan, decays: Decays, tokens: Tokens, part: tuple[int, int, int], state: tuple[list[Tensor], list[Tensor]],
    y: Tensor | None,
) -> tuple[list[Tensor], list[Tensor], list[Tape]]:  # fmt: skip
    """Through the chunks of a group: the state after it and their tapes; what is read goes into y."""
    (weights, momentum), tapes = state, []
    begin, end, size = part
    for number, at in enumerate(range(begin, end, size)):
        if plan.reset_momentum:
            momentum = [torch.zeros_like(m) for m in momentum]
        before = weights, momentum
        of_chunk = _of_chunk(plan, decays, number)
        read, weights, momentum, kept = forward_step(plan.form, *before, of_chunk, *tokens.cut(at, at + size))
        tapes.append(Tape(*before, kept))
        if y is not None:
            y[:, at : at + size] = read
    return weights, momentum, tapes


def _return(
    plan: Plan, decays: Decays, tokens: Tokens, part: tuple[int, int, int], tapes: list[Tape], dy: Tensor,
    dstate: tuple[list[Tensor], list[Tensor]], dtokens: Tokens,
) -> tuple[tuple[list[Tensor], list[Tensor]], list[list[Decay]]]:  # fmt: skip
    """Back through the chunks of a group: gradients by the state before it and by each chunk's decays."""
    ddecays = []
    begin, end, size = part
    for number in reversed(range((end - begin) // size)):
        at, tape = begin + number * size, tapes[number]
        of_chunk, chunk = _of_chunk(plan, decays, number), tokens.cut(at, at + size)
        back = backward_step(
            plan.form, tape.weights, tape.momentum, of_chunk, *chunk, tape.kept, dy[:, at : at + size], *dstate
        )
        for into, gradient in zip(dtokens.cut(at, at + size), (back.q, back.k, back.v), strict=True):
            if gradient is not None:
                into.copy_(gradient)
        dstate = back.weights, [torch.zeros_like(s) for s in back.momentum] if plan.reset_momentum else back.momentum
        ddecays.append(back.decays)
    return dstate, ddecays[::-1]


def _to_gates(plan: Plan, decays: Decays, ddecays: list[list[Decay]], leaves: list[Tensor], into: list[Tensor]) -> None:
    """Carry the gradients by each chunk's decays on to the gates of a group."""
    outputs, gradients = [], []
    for key, decay in decays.items():
        layers = [layer for layer, other in enumerate(plan.gates) if other == key]
        for place, output in enumerate(decay):
            if output.requires_grad:
                outputs.append(output)
                gradients.append(torch.stack([_sum([of[layer][place] for layer in layers]) for of in ddecays]))
    found = torch.autograd.grad(outputs, leaves, gradients, allow_unused=True)
    for gate, gradient in zip(into, found, strict=True):
        if gradient is not None:
            gate.copy_(gradient)


def _sum(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).sum(0)
