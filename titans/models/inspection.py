"""Diagnostics of the memories of a model while it reads, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from titans.mixers.lmm.layer import NeuralMemory
from titans.models.backbone import Backbone
from titans.ops.neural_memory.diagnostics import MemoryDiagnostics, join, memory_diagnostics, weight_norms
from titans.ops.neural_memory.state import Gate, State, Switches

__all__ = ["MemoryDiagnostics", "inspect"]


@torch.no_grad()
def inspect(model: Backbone, tokens: Tensor) -> dict[int, MemoryDiagnostics]:
    """Return the diagnostics of each memory while the model, in evaluation mode, reads tokens `[batch, time]`.

    The tokens are the first of their sequences. Persistent tokens have no position and are left out, even where they
    are written to the memory. The model is left as it was.

    Returns:
        The diagnostics by number of the block, for blocks with a memory. `weight_norm` is relative to the norm of the
        initial weights; NaN where these are zero.
    """
    modules = ((block, module) for block, layer in enumerate(model.blocks) for module in layer.modules())
    memories = {block: module for block, module in modules if isinstance(module, NeuralMemory)}  # at most one a block
    with _evaluating(model), ExitStack() as stack:
        witnesses = {block: stack.enter_context(_watching(memory)) for block, memory in memories.items()}
        model(tokens)
    return {block: witness.figures() for block, witness in witnesses.items()}


class _Witness:
    """An operator that forwards every call to a memory's own operator and diagnoses those that write sequence tokens.

    These are the calls within the layer's `forward`. Outside of it, the layer writes persistent tokens, and MAC with
    `read: end_leaks` writes tokens ahead of their turn.
    """

    def __init__(self, memory: NeuralMemory) -> None:
        self.memory, self.operator, self.reading = memory, memory.operator, False
        self.parts: list[MemoryDiagnostics] = []

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, theta: Gate, eta: Gate | None, alpha: Gate | None, state: State,
        *form: Any, opening: State | None, threshold: Tensor | None, gamma: Tensor | None,
        recent: tuple[Tensor, ...] | None, **switches: Any,
    ) -> tuple[Tensor, State]:  # fmt: skip
        written = (k, v, theta, eta, alpha, state)
        tensors = {"opening": opening, "threshold": threshold, "gamma": gamma, "recent": recent}
        if self.reading:
            self.parts.append(memory_diagnostics(*written, Switches(*form, **switches), **tensors))  # type: ignore[arg-type]
        return self.operator(q, *written, *form, **tensors, **switches)

    def begin(self, *_: Any) -> None:
        """Note that the layer's `forward` begins."""
        self.reading = True

    def end(self, *_: Any) -> None:
        """Note that the layer's `forward` has ended."""
        self.reading = False

    def figures(self) -> MemoryDiagnostics:
        """Return the diagnostics of all tokens."""
        found = join(self.parts)
        first = weight_norms(tuple(self.memory.initial), self.memory.config.gain != "none")[..., None]
        return found._replace(weight_norm=torch.where(first > 0, found.weight_norm / first, torch.nan))


@contextmanager
def _watching(memory: NeuralMemory) -> Iterator[_Witness]:
    """Replace the memory's operator by a witness, for a while."""
    witness = _Witness(memory)
    memory.operator = witness
    try:
        with memory.register_forward_pre_hook(witness.begin), memory.register_forward_hook(witness.end):
            yield witness
    finally:
        memory.operator = witness.operator


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, for a while."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
