"""Looking inside the memories of a model while it reads, block by block; the model is left as it was."""

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
    """What goes on in each memory while the model, in evaluation mode, reads tokens `[batch, time]` from their start.

    Persistent tokens have no place in time and are left out, though the memory may have been written with them.

    Returns:
        The figures by number of the block, of those that have a memory. `weight_norm` is relative to the initial
        weights; NaN where these are zero.
    """
    with _evaluating(model), ExitStack() as stack:
        witnesses = {block: stack.enter_context(_watching(memory)) for block, memory in _memories(model)}
        model(tokens)
    return {block: witness.figures() for block, witness in witnesses.items()}


class _Witness:
    """Stands in for a memory's operator: passes every call on, and looks into those that write the sequence's tokens.

    These are the calls from within the layer's forward. What is written outside of it are the persistent tokens, and
    tokens that a reading of MAC settles ahead of time, which are written again in their turn.
    """

    def __init__(self, memory: NeuralMemory) -> None:
        self.memory, self.operator, self.reading = memory, memory.operator, False
        self.parts: list[MemoryDiagnostics] = []

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, theta: Gate, eta: Gate | None, alpha: Gate | None, state: State,
        *form: Any, **switches: Any,
    ) -> tuple[Tensor, State]:  # fmt: skip
        written = (k, v, theta, eta, alpha, state)
        if self.reading:
            self.parts.append(memory_diagnostics(*written, Switches(*form, **switches)))
        return self.operator(q, *written, *form, **switches)

    def begin(self, *_: Any) -> None:
        """The layer's forward begins."""
        self.reading = True

    def end(self, *_: Any) -> None:
        """It has ended."""
        self.reading = False

    def figures(self) -> MemoryDiagnostics:
        """Of all tokens."""
        found = join(self.parts)
        first = weight_norms(tuple(self.memory.initial), self.memory.config.gain != "none")[..., None]
        return found._replace(weight_norm=torch.where(first > 0, found.weight_norm / first, torch.nan))


def _memories(model: Backbone) -> Iterator[tuple[int, NeuralMemory]]:
    """The memories and the numbers of their blocks; a block has at most one."""
    for block, layer in enumerate(model.blocks):
        yield from ((block, module) for module in layer.modules() if isinstance(module, NeuralMemory))


@contextmanager
def _watching(memory: NeuralMemory) -> Iterator[_Witness]:
    """A witness in the place of the memory's operator."""
    witness = _Witness(memory)
    memory.operator = witness
    try:
        with memory.register_forward_pre_hook(witness.begin), memory.register_forward_hook(witness.end):
            yield witness
    finally:
        memory.operator = witness.operator


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and then each module's own again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
