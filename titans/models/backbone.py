"""The blocks that every model is built round, and initial values, which depend on (seed, tensor name) alone."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from titans.mixers import registry
from titans.mixers.parts import RMSNorm
from titans.models.config import ModelConfig

#: What a model carries from token to token: named tuples of tensors, a mixer's for each block.
ModelState = tuple[Any, ...]


class SwiGLU(nn.Module):
    """Feed-forward layer with a gate (arXiv 2002.05202)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., dim]` to the same."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """x + mixer(norm(x)), then x + feed_forward(norm(x)); the mixer by its name."""

    def __init__(self, config: ModelConfig, mixer: str) -> None:
        super().__init__()
        self.mixer_norm, self.feed_forward_norm = RMSNorm(config.dim), RMSNorm(config.dim)
        self.mixer = registry.mixer(mixer).build(config)
        self.feed_forward = SwiGLU(config.dim, config.hidden)

    def start(self, batch: int) -> Any:
        """The mixer's state before the first token."""
        return self.mixer.start(batch)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next tokens `[batch, time, dim]`; the output, and the mixer's state after them."""
        y, state = self.mixer(self.mixer_norm(x), state)
        x = x + y
        return x + self.feed_forward(self.feed_forward_norm(x)), state


class Backbone(nn.Module):
    """Blocks and a norm, for a model that brings what is before and behind them, and that calls `initialise` last.

    Attributes:
        config: What is built.
        recompute: In the backward pass, go through each block once more instead of keeping what is in it.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        self.blocks = nn.ModuleList(Block(config, mixer) for mixer in config.mixers)
        self.norm = RMSNorm(config.dim)

    def start(self, batch: int) -> ModelState:
        """The state before the first token, a mixer's for each block."""
        return tuple(block.start(batch) for block in self.blocks)  # type: ignore[operator]

    def hidden(self, x: Tensor, state: ModelState | None = None) -> tuple[Tensor, ModelState]:
        """Through blocks and norm, `[batch, time, dim]` to the same, and the state behind; from the start without one.

        However a sequence is cut, the parts give what the whole gives; the state does not grow, save a transformer's.
        """
        states = []
        for block, before in zip(self.blocks, self.start(x.shape[0]) if state is None else state, strict=True):
            x, after = self._through(block, x, before)
            states.append(after)
        return self.norm(x), tuple(states)

    def _through(self, block: nn.Module, x: Tensor, before: Any) -> tuple[Tensor, Any]:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(block, x, before, use_reentrant=False, preserve_rng_state=False)
        return block(x, before)


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
