"""The scan as one differentiable operation, which chooses what it keeps for its backward pass.

It keeps the state before each chunk and the chunk's products, as long as these fit a budget of bytes. Beyond the
budget, chunks go in groups of about the square root of their number. Then the state before each group is kept, and the
backward pass recomputes the chunks of a group (activation checkpointing).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._pytree import tree_flatten, tree_unflatten

from titans.ops.neural_memory.coefficients import Gates, per_chunk
from titans.ops.neural_memory.scan import MUON, TAPED, Scan, continue_chunk
from titans.ops.neural_memory.state import MemoryState, State, Switches

#: Where a layer's theta, eta, alpha and gamma are among the gates of a call; None for a gate that is off.
GatePlaces = tuple[int, int | None, int | None, int | None]


class Schedule(NamedTuple):
    """The schedule of a scan: a sequence in groups of chunks.

    Attributes:
        switches: How the memory is built, written and read.
        scan: The functions that compute whole chunks.
        size: Tokens in a chunk.
        places: Indices of each layer's gates; None for a layer that is not written. Layers may share gates.
        group: The number of chunks in a group.
        keeps: Whether the products of a group are kept. Otherwise the backward pass recomputes them.
    """

    switches: Switches
    scan: Scan
    size: int
    places: tuple[GatePlaces | None, ...]
    group: int
    keeps: bool

    def groups(self, time: int) -> Iterator[tuple[slice, int]]:
        """Yield the tokens and the chunk size of each group; a shorter last chunk is a group of its own."""
        whole = time - time % self.size
        length = self.group * self.size
        for begin in range(0, whole, length):
            yield slice(begin, min(begin + length, whole)), self.size
        if whole < time:
            yield slice(whole, time), time - whole

    def cut(self, tokens: Sequence[Tensor], part: slice) -> tuple[Tensor, ...]:
        """Return a part of q `[N, time, D]`, and of the rest `[N, halo + time, ...]`, which begins with its halo."""
        q, *written = tokens
        with_halo = slice(part.start, part.stop + self.switches.window - 1)
        return q[:, part], *(x[:, with_halo] for x in written)


def memory_policy(budget: int, q: Tensor, state: State, scan: Scan, size: int) -> tuple[int, bool]:
    """Return the chunks in a group, and whether their products are kept, so that a call keeps about `budget` bytes.

    Args:
        budget: Bytes that may be kept for the backward pass.
        q: `[N, time, D]`.
        state: `[N, O, I]` for each layer.
        scan: The functions that compute whole chunks.
        size: Tokens in a chunk.
    """
    chunks, widths = -(-q.shape[1] // size), [q.shape[2], *(w.shape[1] for w in state.weights if w.dim() == 3)]
    of_state, of_products = (q.element_size() * q.shape[0] * x for x in scan.tape_sizes(widths, size, q.dtype))
    if chunks * (of_state + of_products) <= budget:
        return chunks, True
    return max(1, round(math.sqrt(chunks * of_state / (of_state + of_products)))), False


def scan_sequence(
    schedule: Schedule, gates: Sequence[Tensor], tokens: Sequence[Tensor], state: State
) -> tuple[Tensor, State]:
    """Write and read a sequence; differentiable.

    Args:
        schedule: The schedule of the sequence.
        gates: The distinct gates that `schedule.places` refers to, `[N, time]` or `[N, time, channels]`.
        tokens: q, k and v, `[N, time, D]`, and for the objective huber the thresholds, `[N, time, 1]`; with a window,
            all but q begin with those of its halo.
        state: The state before the first token, `[N, O, I]` for each layer.

    Returns:
        What was read `[N, time, D]`, and the state after the last token.
    """
    if schedule.scan.backward is None:
        y, end, _ = _forward(schedule, gates, tokens, state, needs_backward=False)
        return y, end
    layers = len(state.weights)
    outputs = MemoryScan.apply(schedule, len(gates), *gates, *tokens, *state.weights, *state.momentum)  # type: ignore[no-untyped-call]
    y, *end_tensors = outputs
    return y, MemoryState(tuple(end_tensors[:layers]), tuple(end_tensors[layers:]))


def scan_rest(
    schedule: Schedule, gates: Sequence[Tensor], tokens: Sequence[Tensor], state: State, opening: State
) -> tuple[Tensor, State]:
    """Write and read the rest of a chunk that has begun, in torch's steps; differentiable.

    Args:
        schedule: The schedule of the sequence that the chunk belongs to.
        gates: The distinct gates that `schedule.places` refers to, `[N, time]` or `[N, time, channels]`.
        tokens: q, k and v of the rest, `[N, time, D]`; for the objective huber then the thresholds, `[N, time, 1]`;
            with a window, all but q begin with those of its halo.
        state: The state before its first token, `[N, O, I]` for each layer.
        opening: The state at the start of the chunk, at which its gradients are taken, in the same shape.

    Returns:
        What was read `[N, time, D]`, and the state after the last token.
    """
    schedule = schedule._replace(scan=MUON if schedule.switches.optimizer == "muon" else TAPED, size=tokens[0].shape[1])
    coefficients = per_chunk(_coefficients(schedule, gates, schedule.size), 1)[0]
    return continue_chunk(schedule.switches, coefficients, tuple(tokens), state, opening)


class MemoryScan(torch.autograd.Function):
    """`scan_sequence` with a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, schedule: Schedule, n_gates: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the reads `[N, time, D]`, then the weights and the momentum `[N, O, I]` after the last token.

        The tensors are the gates, then q, k and v, then the weights and the momentum of each layer.
        """
        tensors = tuple(x.detach() for x in tensors)  # torch.compile warns of those that are on a tape
        gates, tokens, fast = tensors[:n_gates], tensors[n_gates : n_gates + 3], tensors[n_gates + 3 :]
        state = MemoryState(fast[: len(schedule.places)], fast[len(schedule.places) :])
        needs_backward = any(ctx.needs_input_grad)
        y, end, kept = _forward(schedule, gates, tokens, state, needs_backward)
        if needs_backward:  # saved by autograd, so that its hooks can offload it and it can be freed
            saved, ctx.form = tree_flatten((gates, tokens, kept))
            ctx.save_for_backward(*saved)
        ctx.schedule = schedule
        return (y, *end.weights, *end.momentum)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *dend: Tensor) -> tuple[Any, ...]:
        """Return the gradients with respect to the tensors, given dy `[N, time, D]` and those of the end state."""
        schedule, layers = ctx.schedule, len(ctx.schedule.places)
        gates, tokens, kept = tree_unflatten(list(ctx.saved_tensors), ctx.form)
        dstate = MemoryState(dend[:layers], dend[layers:])
        dgates = [torch.empty_like(gate) for gate in gates]
        dtokens: list[tuple[Tensor | None, ...]] = []
        groups = list(schedule.groups(dy.shape[1]))
        for (part, size), (start, tape) in zip(reversed(groups), reversed(kept), strict=True):
            cut, cut_gates = schedule.cut(tokens, part), [gate[:, part] for gate in gates]
            coefficients = _coefficients(schedule, cut_gates, size)
            if tape is None:
                tape = schedule.scan.forward(schedule.switches, size, coefficients, cut, start, True)[2]
            found = schedule.scan.backward(schedule.switches, size, coefficients, cut, tape, dy[:, part], dstate)
            dstate = found.state
            dtokens.insert(0, (found.q, found.k, found.v))
            for into, gradient in zip(dgates, _to_gates(schedule, cut_gates, size, found.coefficients), strict=True):
                into[:, part] = gradient
        by_token = (None if x[0] is None else _joined(x) for x in zip(*dtokens, strict=True))
        return (None, None, *dgates, *by_token, *dstate.weights, *dstate.momentum)


def _forward(
    schedule: Schedule, gates: Sequence[Tensor], tokens: Sequence[Tensor], state: State, needs_backward: bool
) -> tuple[Tensor, State, list[tuple[State, Any]]]:
    """Return the reads, the end state, and for the backward pass each group's first state and tape."""
    y: list[Tensor] = []
    kept: list[tuple[State, Any]] = []
    for part, size in schedule.groups(tokens[0].shape[1]):
        coefficients, start = _coefficients(schedule, [gate[:, part] for gate in gates], size), state
        cut = schedule.cut(tokens, part)
        keep = needs_backward and schedule.keeps
        read, state, tape = schedule.scan.forward(schedule.switches, size, coefficients, cut, start, keep)
        y.append(read)
        if needs_backward:
            kept.append((start, tape))
    return _joined(y), state, kept


def _coefficients(schedule: Schedule, gates: Sequence[Tensor], size: int) -> list[Any]:
    """Return the coefficients of each layer over whole chunks; layers with the same gates share theirs."""
    known = {
        places: schedule.scan.coefficients(_of_layer(schedule, places, gates), size, schedule.switches.update_every)
        for places in dict.fromkeys(schedule.places)
        if places is not None
    }
    return [None if places is None else known[places] for places in schedule.places]


def _to_gates(schedule: Schedule, gates: Sequence[Tensor], size: int, gradients: Sequence[Any]) -> list[Tensor]:
    """Return the gradients with respect to the gates, from those with respect to each layer's coefficients."""
    dgates = [torch.zeros_like(gate) for gate in gates]
    for places in dict.fromkeys(schedule.places):
        assert places is not None
        of_layers = [gradient for gradient, own in zip(gradients, schedule.places, strict=True) if own == places]
        gradient = type(of_layers[0])(*(_sum(x) for x in zip(*of_layers, strict=True)))
        used = _of_layer(schedule, places, gates)
        found = schedule.scan.coefficients_backward(used, size, schedule.switches.update_every, gradient)
        signs = (-1 if schedule.switches.ascent else 1, 1, 1, 1)
        for place, dgate, sign in zip(places, found, signs, strict=True):
            if place is not None:
                assert dgate is not None
                dgates[place] += sign * dgate
    return dgates


def _sum(gradients: Sequence[Tensor | None]) -> Tensor | None:
    given = [x for x in gradients if x is not None]
    return sum(given[1:], start=given[0]) if given else None


def _of_layer(schedule: Schedule, places: GatePlaces, gates: Sequence[Tensor]) -> Gates:
    """Return the gates at these places. To climb the inner loss is a step with its sign changed."""
    used = Gates.of(None if place is None else gates[place] for place in places)
    return used._replace(theta=-used.theta) if schedule.switches.ascent else used


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Join along time. A single part is not copied, for it may have hundreds of megabytes."""
    return torch.cat(list(parts), 1) if len(parts) > 1 else parts[0]
