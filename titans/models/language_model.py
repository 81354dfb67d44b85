"""A language model over any of the mixers."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from titans.mixers.lmm.layer import NeuralMemory
from titans.mixers.recurrence import MatrixMixer
from titans.models.backbone import Backbone, ModelState, initialise
from titans.models.config import ModelConfig
from titans.ops import neural_memory
from titans.ops.neural_memory.kernels import KernelName

__all__ = ["LanguageModel", "ModelState", "initialise", "use_kernel"]


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


def use_kernel(model: nn.Module, kernel: KernelName | Literal["fla"]) -> None:
    """Let every memory of a model compute with one of the operator's kernels, or, with "fla", its rivals with those."""
    for module in model.modules():
        if isinstance(module, MatrixMixer):
            module.kernel = "fla" if kernel == "fla" else "torch"
        elif isinstance(module, NeuralMemory) and kernel != "fla":
            module.operator = partial(neural_memory, kernel=kernel)
