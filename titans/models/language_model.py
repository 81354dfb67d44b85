"""A language model over any of the mixers, and its initial values, which depend on (seed, tensor name) alone."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from titans.layers.neural_memory import NeuralMemory
from titans.layers.parts import RMSNorm
from titans.layers.recurrent import MatrixMixer
from titans.models.block import Block
from titans.models.config import ModelConfig
from titans.ops import neural_memory
from titans.ops.neural_memory.kernel import Kernel

#: What a model carries from token to token: named tuples of tensors, a mixer's for each block.
ModelState = tuple[Any, ...]


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
        self.recompute = False  # in the backward pass, go through each block once more instead of keeping what is in it
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList(Block(config, mixer) for mixer in config.mixers)
        self.norm = RMSNorm(config.dim)
        self.head = nn.Linear(config.dim, config.vocab_size, bias=False)
        initialise(self, seed)

    def start(self, batch: int) -> ModelState:
        """The state before the first token, a mixer's for each block."""
        return tuple(block.start(batch) for block in self.blocks)  # type: ignore[operator]

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `[batch, time, vocab_size]` of the next token, from whole sequences `[batch, time]`."""
        return self.advance(tokens, self.start(tokens.shape[0]))[0]

    def advance(self, tokens: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Logits for the next tokens of streams, one or many, and the state after them.

        However a sequence is cut, the parts give what the whole gives; the state does not grow, save a transformer's.
        """
        return self.mix(self.embedding(tokens), state)

    def mix(self, x: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """`advance` from embedded tokens `[batch, time, dim]`."""
        states = []
        for block, before in zip(self.blocks, state, strict=True):
            x, after = self._through(block, x, before)
            states.append(after)
        return self.head(self.norm(x)), tuple(states)

    def _through(self, block: nn.Module, x: Tensor, before: Any) -> tuple[Tensor, Any]:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(block, x, before, use_reentrant=False, preserve_rng_state=False)
        return block(x, before)


def use_kernel(model: nn.Module, kernel: Kernel | Literal["fla"]) -> None:
    """Let every memory of a model compute with one of the operator's kernels, or, with "fla", its rivals with those."""
    for module in model.modules():
        if isinstance(module, MatrixMixer):
            module.kernel = "fla" if kernel == "fla" else "torch"
        elif isinstance(module, NeuralMemory) and kernel != "fla":
            module.operator = partial(neural_memory, kernel=kernel)


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
