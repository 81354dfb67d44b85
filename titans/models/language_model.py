"""A language model over any of the mixers, and its initial values, which depend on (seed, tensor name) alone."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from titans.models.block import Block
from titans.models.config import ModelConfig


class LanguageModel(nn.Module):
    """Embedding, blocks, norm and output projection.

    Args:
        config: What to build.
        seed: Of the initial values. A tensor that two models share by name and shape starts equal in both, whatever
            else they have, so that runs can be compared in pairs.
    """

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.RMSNorm(config.dim)
        self.head = nn.Linear(config.dim, config.vocab_size, bias=False)
        initialise(self, seed)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `[batch, time, vocab_size]` of the next token, from tokens `[batch, time]`."""
        return self.mix(self.embedding(tokens))

    def mix(self, x: Tensor) -> Tensor:
        """Logits from embedded tokens `[batch, time, dim]`."""
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Draw every matrix from a normal distribution of its own, by (seed, tensor name); gains and biases stay as built.

    The deviation is fan_in^-1/2, unless the module that holds the tensor names another in its `init_std`.
    """
    for path, module in model.named_modules():
        for name, tensor in module.named_parameters(recurse=False):
            if tensor.ndim < 2 or not tensor.numel():
                continue
            std = 1.0 if isinstance(module, nn.Embedding) else tensor.shape[-1] ** -0.5
            std = getattr(module, "init_std", {}).get(name, std)
            digest = hashlib.sha256(f"{seed}:{path}.{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
            values = torch.randn(tensor.shape, generator=generator, dtype=torch.float32)
            tensor.copy_(std * values)
