"""A classifier of whole sequences, with the blocks of a language model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans.mixers.parts import biased_linear
from titans.models.backbone import Backbone, initialise
from titans.models.config import ModelConfig


class Classifier(Backbone):
    """Embedding, blocks, mean over the tokens of a sequence, and a linear head.

    Padding after a sequence changes nothing: the blocks are causal, and the mean leaves it out.

    Args:
        config: Configuration of embedding and blocks.
        classes: Number of classes.
        seed: Seed of the initial values, as in `LanguageModel`.
    """

    def __init__(self, config: ModelConfig, classes: int, seed: int = 0) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.head = biased_linear(config.dim, classes)
        initialise(self, seed)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the logits `[batch, classes]` of sequences.

        Args:
            tokens: `[batch, time]`.
            lengths: Number of tokens of each sequence without padding, `[batch]`. None: all.
        """
        x, _ = self.hidden(self.embedding(tokens))
        if lengths is None:
            return self.head(x.mean(1))
        within = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        return self.head((x * within[..., None]).sum(1) / lengths[:, None])
