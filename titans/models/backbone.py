"""The blocks that every model is built on, and their initial values, which depend on seed and tensor name alone."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from titans.mixers import registry
from titans.mixers.parts import HasPlainForm, Linear, RMSNorm
from titans.models.config import ModelConfig
from titans.ops.pointwise import plain_silu_gate, silu_gate

#: The state of a model between two tokens: for each block the state of its mixer.
ModelState = tuple[Any, ...]


class SwiGLU(HasPlainForm, nn.Module):
    """A feed-forward layer with a gate (arXiv 2002.05202)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = Linear(dim, hidden, bias=False), Linear(dim, hidden, bias=False)
        self.down = Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., dim]` to the same shape."""
        return self.down((plain_silu_gate if self.plain else silu_gate)(self.gate(x), self.up(x)))


class Block(nn.Module):
    """A Llama-style block: a mixer, then a SwiGLU, each after an RMSNorm and on a residual branch.

    Args:
        config: What to build.
        mixer: Name of the mixer.
    """

    def __init__(self, config: ModelConfig, mixer: str) -> None:
        super().__init__()
        self.mixer_norm, self.feed_forward_norm = RMSNorm(config.dim), RMSNorm(config.dim)
        self.mixer = registry.mixer(mixer).build(config)
        self.feed_forward = SwiGLU(config.dim, config.hidden)

    def forward(self, x: Tensor, state: Any | None) -> tuple[Tensor, Any]:
        """Return the outputs for the next tokens, both `[batch, time, dim]`, and the mixer's state after them.

        Without a state before them, the tokens are the first. The mixer's initial state may have parameters, so it is
        made here: FSDP gathers a block's parameters for its forward pass alone.
        """
        y, state = self.mixer(self.mixer_norm(x), self.mixer.start(x.shape[0]) if state is None else state)
        x = x + y
        return x + self.feed_forward(self.feed_forward_norm(x)), state


class Backbone(nn.Module):
    """Blocks and a norm. A model adds what comes before and after them, and calls `initialise` when all is built.

    Attributes:
        config: What is built.
        recompute: Whether the backward pass recomputes each block instead of keeping its activations.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        self.blocks = nn.ModuleList(Block(config, mixer) for mixer in config.mixers)
        self.norm = RMSNorm(config.dim)

    def start(self, batch: int) -> ModelState:
        """Return the state of `batch` sequences before their first token."""
        return tuple(block.mixer.start(batch) for block in self.blocks)  # type: ignore[union-attr, operator]

    def hidden(self, x: Tensor, state: ModelState | None = None) -> tuple[Tensor, ModelState]:
        """Pass embedded tokens through blocks and norm.

        A sequence can be cut anywhere: its parts give the outputs of the whole.

        Args:
            x: The next tokens, `[batch, time, dim]`.
            state: The state before them. None: they are the first.

        Returns:
            The outputs, shaped like x, and the state after the tokens.
        """
        states = []
        for block, before in zip(self.blocks, [None] * len(self.blocks) if state is None else state, strict=True):
            if self.recompute and torch.is_grad_enabled():
                x, after = checkpoint(block, x, before, use_reentrant=False, preserve_rng_state=False)
            else:
                x, after = block(x, before)
            states.append(after)
        return self.norm(x), tuple(states)


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Draw each matrix from a normal distribution with a generator of its own, seeded by (seed, tensor name).

    So a tensor that two models share by name and shape starts equal in both. The standard deviation is fan_in^-1/2,
    unless the module's `init_std` has another one for the tensor. Embeddings have 1. Gains and biases stay as they were
    built.
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
