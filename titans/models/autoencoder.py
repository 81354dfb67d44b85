"""An autoencoder of sequences, the model of MAD's compression task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans.mixers.parts import RMSNorm, biased_linear
from titans.models.backbone import Backbone, initialise
from titans.models.config import ModelConfig

SLOWEST = 10_000.0  # wavelength over 2 pi of the slowest sine of a position


class AutoEncoder(Backbone):
    """Embedding, blocks and norm, whose last output is the code; an MLP decodes the code at every position.

    MAD (arXiv 2403.17844) describes the model.

    Args:
        config: What to build.
        seed: Seed of the initial values, as in `LanguageModel`.

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
            RMSNorm(dim),
            biased_linear(dim, dim),
            nn.GELU(),
            RMSNorm(dim),
            biased_linear(dim, dim),
            nn.GELU(),
            RMSNorm(dim),
        )
        self.head = biased_linear(dim, config.vocab_size)
        initialise(self, seed)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits `[batch, time, vocab_size]` of the tokens `[batch, time]` themselves."""
        code = self.hidden(self.embedding(tokens))[0][:, -1:]
        return self.head(self.decoder(code + positions(tokens.shape[1], code)))

    def logits_at(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Return the logits `[places, vocab_size]` of tokens where `wanted` is true, both `[batch, time]`."""
        return self(tokens)[wanted]


def positions(length: int, like: Tensor) -> Tensor:
    """Return sines and cosines `[length, dim]` of each position (arXiv 1706.03762), for `like` `[..., dim]`."""
    half = like.shape[-1] // 2
    rates = SLOWEST ** -torch.linspace(0, 1, half, device=like.device)
    angles = torch.arange(length, device=like.device)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), -1).to(like.dtype)
