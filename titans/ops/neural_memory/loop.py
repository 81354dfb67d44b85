"""The loop over chunks as one differentiable operation: what it keeps for its backward pass is chosen, not taped.

Kept are the state before each chunk and the chunk's products, as long as these fit a budget of bytes. Beyond, chunks go
in groups of about the square root of their number: kept is the state before each group, and a group's chunks are gone
through once more when the backward pass comes to it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._pytree import tree_flatten, tree_unflatten

from titans.ops.neural_memory import group
from titans.ops.neural_memory.group import FastState, Gates
from titans.ops.neural_memory.mlp import loss_slope
from titans.ops.neural_memory.state import Gate, MemoryState, State, Switches, by_layer
from titans.ops.neural_memory.step import Decay, Form

MEMORY_BUDGET = 512 * 2**20  # bytes a call may keep: twice what 8 heads of 64, depth 2, chunk 64 take at 4,096 tokens


GatePlaces = tuple[int, int | None, int | None]


class Plan(NamedTuple):
    """How a sequence is gone through.

    Attributes:
        form: Of the memory.
        chunk_size, update_every, reset_momentum, ascent: See `neural_memory`.
        gates: Of each layer: the places of its theta, eta and alpha among the gates, None where it has none.
        group: Chunks gone through together.
        keeps: Whether their products are kept, or come from going through them once more.
        kernel: "torch", "compiled" or "triton".
    """

    form: Form
    chunk_size: int
    update_every: int
    reset_momentum: bool
    ascent: bool
    gates: tuple[GatePlaces, ...]
    group: int
    keeps: bool
    kernel: str

    @property
    def functions(self) -> ModuleType:
        """The module of `chunk_decay`, `forward_group` and of what goes back through them."""
        if self.kernel == "torch":
            return group
        return importlib.import_module(f"titans.ops.neural_memory.{self.kernel}")  # only now: it takes a while

    def parts(self, time: int) -> Iterator[tuple[int, int, int]]:
        """Begin, end and chunk size of each group; a shorter last chunk is one of its own."""
        whole = time - time % self.chunk_size
        length = self.group * self.chunk_size
        for begin in range(0, whole, length):
            yield begin, min(begin + length, whole), self.chunk_size
        if whole < time:
            yield whole, time, time - whole


def is_plain(how: Switches, eta: Gate | None, alpha: Gate | None) -> bool:
    """Whether `chunk_loop` can do a call: most there are."""
    shared = not any(isinstance(gate, tuple) and any(x.dim() == 4 for x in gate) for gate in (eta, alpha))
    return how.read == "token" and how.written is None and not how.gain and shared


def chunk_loop(
    tokens: Sequence[Tensor], gates: tuple[Gate, Gate | None, Gate | None], state: State, how: Switches, budget: int,
    kernel: str,
) -> tuple[Tensor, MemoryState]:  # fmt: skip
    """`neural_memory` of tokens (q, k, v) and gates (theta, eta, alpha), where `is_plain` holds.

    `budget`: Bytes that may be kept for the backward pass. `kernel`: See `which_kernel`.
    """
    q, layers = tokens[0], len(state.weights)
    unique, places = _unique([by_layer(gate, layers) for gate in gates])
    form = Form(how.activation, how.residual, loss_slope(how.loss, q.shape[-1]), how.outer_gradient)
    group, keeps = _policy(budget, -(-q.shape[2] // how.chunk_size), *_sizes(q, state, how.chunk_size))
    plan = Plan(form, how.chunk_size, how.update_every, how.reset_momentum, how.ascent, places, group, keeps, kernel)
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
        tensors = tuple(x.detach() for x in tensors)  # torch.compile warns of those that are on a tape
        layers, (q, k, v) = len(plan.gates), tensors[gates : gates + 3]
        state = FastState(list(tensors[gates + 3 : gates + 3 + layers]), list(tensors[gates + 3 + layers :]))
        keeps = plan.keeps and any(ctx.needs_input_grad)
        y, groups = [], []
        for begin, end, size in plan.parts(q.shape[1]):
            decays = _decays(plan, [g[:, :, begin:end] for g in tensors[:gates]], size)
            start, tokens = state, (q[:, begin:end], k[:, begin:end], v[:, begin:end])
            read, state, tape = plan.functions.forward_group(
                plan.form, plan.reset_momentum, decays, tokens, start, keeps
            )
            y.append(read)
            groups.append((start, tape))
        if any(ctx.needs_input_grad):  # all through autograd's hands, which may put it elsewhere, or drop it
            kept, ctx.shape = tree_flatten((tensors[:gates], (q, k, v), groups))
            ctx.save_for_backward(*kept)
        ctx.plan = plan
        return (_joined(y), *state.weights, *state.momentum)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *after: Tensor) -> tuple[Any, ...]:
        """Gradients by the gates, the tokens, and the state before."""
        plan, layers = ctx.plan, len(ctx.plan.gates)
        gates, tokens, groups = tree_unflatten(list(ctx.saved_tensors), ctx.shape)
        dstate = FastState(list(after[:layers]), list(after[layers:]))
        dgates = [torch.empty_like(g) for g in gates]
        dtokens: list[tuple[Tensor, ...]] = []
        parts = list(plan.parts(dy.shape[1]))
        for (begin, end, size), (start, tape) in zip(reversed(parts), reversed(groups), strict=True):
            cut = tuple(x[:, begin:end] for x in tokens)
            cut_gates = [g[:, :, begin:end] for g in gates]
            decays = _decays(plan, cut_gates, size)
            if tape is None:
                tape = plan.functions.forward_group(plan.form, plan.reset_momentum, decays, cut, start, True)[2]
            back = plan.functions.backward_group(
                plan.form, plan.reset_momentum, decays, cut, tape, dy[:, begin:end], dstate
            )
            dstate = back.state
            dtokens.insert(0, back.tokens)
            for into, gradient in zip(dgates, _to_gates(plan, cut_gates, size, back.decays), strict=True):
                into[:, :, begin:end] = gradient
        by_token = (None if x[0] is None else _joined(x) for x in zip(*dtokens, strict=True))
        return (None, None, *dgates, *by_token, *dstate.weights, *dstate.momentum)


def _joined(parts: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Along time; a copy of what may be hundreds of megabytes only where there is something to join."""
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def _decays(plan: Plan, gates: Sequence[Tensor], size: int) -> list[Decay]:
    """What the gates of whole chunks come to, layer by layer; layers with the same gates share theirs."""
    known = {
        places: plan.functions.chunk_decay(_of_layer(plan, places, gates), size, plan.update_every)
        for places in dict.fromkeys(plan.gates)
    }
    return [known[places] for places in plan.gates]


def _to_gates(plan: Plan, gates: Sequence[Tensor], size: int, gradients: Sequence[Decay]) -> list[Tensor]:
    """Carry the gradients by each layer's decays on to the gates."""
    dgates = [torch.zeros_like(gate) for gate in gates]
    for places in dict.fromkeys(plan.gates):
        of_layers = [gradient for gradient, own in zip(gradients, plan.gates, strict=True) if own == places]
        gradient = Decay(*(sum(x[1:], start=x[0]) for x in zip(*of_layers, strict=True)))
        used = _of_layer(plan, places, gates)
        back = plan.functions.chunk_decay_back(used, size, plan.update_every, gradient)
        for place, dgate, sign in zip(places, back, (-1 if plan.ascent else 1, 1, 1), strict=True):
            if place is not None:
                dgates[place] += sign * dgate
    return dgates


def _of_layer(plan: Plan, places: GatePlaces, gates: Sequence[Tensor]) -> Gates:
    """The gates at these places; climbing the inner loss is a step with its sign changed."""
    theta, eta, alpha = (None if place is None else gates[place] for place in places)
    assert theta is not None
    return Gates(-theta if plan.ascent else theta, eta, alpha)
