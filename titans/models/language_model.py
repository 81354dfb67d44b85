"""A language model over any mixer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from titans.mixers import registry
from titans.mixers.mixer import HasKernels, HasWrites
from titans.mixers.parts import Linear
from titans.models.backbone import Backbone, ModelState, initialise
from titans.models.config import ModelConfig

__all__ = ["LanguageModel", "ModelState", "has_writes", "initialise", "use_kernel", "use_reference", "writes_off"]


class LanguageModel(Backbone):
    """Embedding, blocks, norm and output projection.

    Args:
        config: What to build.
        seed: Seed of the initial values. Models with the same seed share the values of tensors with the same name and
            shape, so that runs can be compared in pairs.
    """

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.head = Linear(config.dim, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.embedding.weight = self.head.weight
        initialise(self, seed)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits `[batch, time, vocab_size]` of the next tokens, for whole sequences `[batch, time]`."""
        return self.advance(tokens, None)[0]

    def advance(self, tokens: Tensor, state: ModelState | None) -> tuple[Tensor, ModelState]:
        """Read the next tokens of a stream, one or many.

        A sequence can be cut anywhere: its parts give the logits of the whole. The state has constant size, except that
        the key-value cache of full attention grows.

        Args:
            tokens: `[batch, time]`.
            state: The state before them, from `start` or from an earlier call. None: they are the first.

        Returns:
            The logits `[batch, time, vocab_size]` of the tokens after each, and the state after the tokens.
        """
        return self.mix(self.embedding(tokens), state)

    def logits_at(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Return the logits `[places, vocab_size]` where `wanted` `[batch, time]` is true.

        For few places of `tokens` `[batch, time]` this is far cheaper than the logits of all.
        """
        return self.head(self.hidden(self.embedding(tokens))[0][wanted])

    def mix(self, x: Tensor, state: ModelState | None) -> tuple[Tensor, ModelState]:
        """Do the same as `advance` for embedded tokens `[batch, time, dim]`."""
        x, state = self.hidden(x, state)
        return self.head(x), state


def use_kernel(model: nn.Module, kernel: str) -> None:
    """Make all modules of a model compute with a kernel: one of `neural_memory`, or "fla" for recurrent mixers."""
    for module in model.modules():
        if isinstance(module, HasKernels):
            module.use_kernel(kernel)


def has_writes(model: nn.Module) -> bool:
    """Return whether a model has a state that writes can be switched off for: a memory or a linear recurrence."""
    return any(isinstance(module, HasWrites) for module in model.modules())


@contextmanager
def writes_off(model: nn.Module) -> Iterator[None]:
    """Switch all writes of a model off: every state stays what it is before the first token.

    What a model loses without its writes says how much it uses its memory. Short convolutions, attention, and the
    persistent tokens in the initial state work as before.
    """
    writing = [module for module in model.modules() if isinstance(module, HasWrites) and module.writes]
    for module in writing:
        module.writes = False
    try:
        yield
    finally:
        for module in writing:
            module.writes = True


def use_reference(model: Backbone) -> None:
    """Make all mixers of a model compute by their reference implementations, where they have one."""
    for name, block in zip(model.config.mixers, model.blocks, strict=True):
        registry.mixer(name).use_reference(block.mixer)
