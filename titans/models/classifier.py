"""Classification of whole sequences with the same blocks as a language model's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans.mixers.parts import linear
from titans.models.backbone import Backbone, initialise
from titans.models.config import ModelConfig


class Classifier(Backbone):
    """Embedding, blocks, the mean over a sequence's tokens, and a linear head.

    The blocks are causal, so what stands behind a sequence to fill a batch changes nothing before it, and the mean
    leaves it out.

    Args:
        config: Of the embedding and the blocks.
        classes: How many there are.
        seed: Of the initial values.
    """

    def __init__(self, config: ModelConfig, classes: int, seed: int = 0) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.head = linear(config.dim, classes)
        initialise(self, seed)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits `[batch, classes]` of sequences `[batch, time]`, each of its first `lengths` `[batch]` tokens."""
        x, _ = self.hidden(self.embedding(tokens))
        if lengths is None:
            return self.head(x.mean(1))
        within = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        return self.head((x * within[..., None]).sum(1) / lengths[:, None])
