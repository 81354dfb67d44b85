"""The cost of a model in closed form, without torch: parameters, FLOPs and the size of its state.

FLOPs count the matrix products and convolutions as they are executed; a multiply-add is two. Mamba's recurrence counts
the multiply-adds that it takes token by token. Estimates in papers are lower where they leave out work that is
executed, such as the half of a causal mask that is computed and discarded.
"""

from __future__ import annotations

from titans.mixers import registry
from titans.models.config import ModelConfig

FLOAT = 4  # bytes


def parameters(config: ModelConfig) -> int:
    """Return the trainable parameters, those of embedding and output projection included."""
    mixers = sum(registry.mixer(name).parameters(config) for name in config.mixers)
    around = config.n_layers * (2 * config.dim + 3 * config.dim * config.hidden)
    tables = 1 if config.tie_embeddings else 2
    return mixers + around + tables * config.vocab_size * config.dim + config.dim


def forward_flops(config: ModelConfig, length: int, batch: int) -> int:
    """Return the FLOPs of one forward pass over `batch` sequences of `length` tokens."""
    mixers = sum(registry.mixer(name).multiply_adds(config, length, batch) for name in config.mixers)
    around = config.n_layers * 3 * config.dim * config.hidden + config.dim * config.vocab_size
    return 2 * (mixers + batch * length * around)


def train_flops_per_token(config: ModelConfig, length: int, batch: int) -> int:
    """Return the training FLOPs for one token. Backward counts as two forward passes; recomputation does not count."""
    return 3 * forward_flops(config, length, batch) // (batch * length)


def state_bytes(config: ModelConfig, length: int) -> int:
    """Return the bytes of the state, in float32, after a sequence of `length` tokens at a chunk's boundary."""
    return FLOAT * sum(registry.mixer(name).state_size(config, length) for name in config.mixers)
