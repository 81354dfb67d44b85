"""A language model over any of the mixers."""

from __future__ import annotations

from torch import Tensor, nn

from titans.mixers import registry
from titans.mixers.mixer import HasKernels
from titans.models.backbone import Backbone, ModelState, initialise
from titans.models.config import ModelConfig

__all__ = ["LanguageModel", "ModelState", "initialise", "use_kernel", "use_reference"]


class LanguageModel(Backbone):
    """Embedding, blocks, norm and output projection.

    Args:
        config: What to build.
        seed: Of the initial values. A tensor that two models share by name and shape starts equal in both, whatever
            else they have, so that runs can be compared in pairs.
    """

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.head = nn.Linear(config.dim, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.embedding.weight = self.head.weight
        initialise(self, seed)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `[batch, time, vocab_size]` of the next token, from whole sequences `[batch, time]`."""
        return self.advance(tokens, self.start(tokens.shape[0]))[0]

    def advance(self, tokens: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Logits for the next tokens of streams, one or many, and the state after them.

        However a sequence is cut, the parts give what the whole gives; the state does not grow, save a transformer's.
        """
        return self.mix(self.embedding(tokens), state)

    def logits_at(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Logits `[places, vocab_size]` where `wanted` `[batch, time]` is true: for few places far cheaper than all."""
        return self.head(self.hidden(self.embedding(tokens))[0][wanted])

    def mix(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """`advance` from embedded tokens `[batch, time, dim]`."""
        x, state = self.hidden(x, state)
        return self.head(x), state


def use_kernel(model: nn.Module, kernel: str) -> None:
    """Let every part of a model compute with a kernel: one of `neural_memory`, or "fla" for recurrent mixers."""
    for module in model.modules():
        if isinstance(module, HasKernels):
            module.use_kernel(kernel)


def use_reference(model: Backbone) -> None:
    """Let every mixer of a model compute by its reference implementation, where it has one."""
    for name, block in zip(model.config.mixers, model.blocks, strict=True):
        registry.mixer(name).use_reference(block.mixer)
