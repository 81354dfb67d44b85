"""A sequence into the place of its last token, and out of it again: the backbone of MAD's compression task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans.mixers.parts import RMSNorm, linear
from titans.models.backbone import Backbone, initialise
from titans.models.config import ModelConfig

SLOWEST = 10_000.0  # of the sines and cosines that say a position


class AutoEncoder(Backbone):
    """Embedding, blocks and norm; then, for every position, an MLP of what came out at the last one (arXiv 2403.17844).

    Args:
        config: What to build.
        seed: Of the initial values, as in `LanguageModel`.

    Raises:
        ValueError: `dim` is odd.
    """

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        if config.dim % 2:
            raise ValueError(f"dim: {config.dim} is odd; positions are sines and cosines in pairs")
        super().__init__(config)
        dim = config.dim
        self.embedding = nn.Embedding(config.vocab_size, dim)
        self.decoder = nn.Sequential(
            RMSNorm(dim), linear(dim, dim), nn.GELU(), RMSNorm(dim), linear(dim, dim), nn.GELU(), RMSNorm(dim)
        )
        self.head = linear(dim, config.vocab_size)
        initialise(self, seed)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `[batch, time, vocab_size]` of the tokens `[batch, time]` themselves."""
        code = self.hidden(self.embedding(tokens))[0][:, -1:]
        return self.head(self.decoder(code + positions(tokens.shape[1], code)))

    def logits_at(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Logits `[places, vocab_size]` where `wanted` `[batch, time]` is true."""
        return self(tokens)[wanted]


def positions(length: int, like: Tensor) -> Tensor:
    """Sines and cosines `[length, dim]` of each position (arXiv 1706.03762), with the width and type of `like`."""
    half = like.shape[-1] // 2
    rates = SLOWEST ** -torch.linspace(0, 1, half, device=like.device)
    angles = torch.arange(length, device=like.device)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), -1).to(like.dtype)
