"""The cost of a whole model, from those of its mixers."""

from __future__ import annotations

from titans.cost.attention import TRANSFORMER, WINDOW
from titans.cost.hybrids import MAC, MAG, MAL
from titans.cost.linear_attention import DELTANET, GATED_DELTANET, GLA, LINEAR_ATTENTION, MAMBA2, RETNET
from titans.cost.mamba import MAMBA
from titans.cost.memory import LMM
from titans.cost.mixer import MixerCost
from titans.cost.recurrent import LSTM
from titans.cost.ttt import TTT_LINEAR, TTT_MLP
from titans.models.config import ModelConfig

FLOAT = 4  # bytes

MIXERS: dict[str, MixerCost] = {
    "lmm": LMM,
    "mac": MAC,
    "mag": MAG,
    "mal": MAL,
    "transformer": TRANSFORMER,
    "window": WINDOW,
    "lstm": LSTM,
    "mamba": MAMBA,
    "ttt_linear": TTT_LINEAR,
    "ttt_mlp": TTT_MLP,
    "linear_attention": LINEAR_ATTENTION,
    "retnet": RETNET,
    "gla": GLA,
    "mamba2": MAMBA2,
    "deltanet": DELTANET,
    "gated_deltanet": GATED_DELTANET,
}


def parameters(config: ModelConfig) -> int:
    """Trainable numbers, embedding and output projection included."""
    mixers = sum(MIXERS[mixer].parameters(config) for mixer in config.mixers)
    around = config.n_layers * (2 * config.dim + 3 * config.dim * config.hidden)
    tables = 1 if config.tie_embeddings else 2
    return mixers + around + tables * config.vocab_size * config.dim + config.dim


def forward_flops(config: ModelConfig, length: int, batch: int) -> int:
    """FLOPs of one forward pass over `batch` sequences of `length` tokens."""
    mixers = sum(MIXERS[mixer].products(config, length, batch) for mixer in config.mixers)
    around = config.n_layers * 3 * config.dim * config.hidden + config.dim * config.vocab_size
    return 2 * (mixers + batch * length * around)


def train_flops_per_token(config: ModelConfig, length: int, batch: int) -> int:
    """Forward and backward, which is taken as twice the forward pass; recomputation does not count."""
    return 3 * forward_flops(config, length, batch) // (batch * length)


def state_bytes(config: ModelConfig, length: int) -> int:
    """Bytes, in float32, that a sequence of `length` tokens leaves behind for the next one, at a chunk's boundary."""
    return FLOAT * sum(MIXERS[mixer].state(config, length) for mixer in config.mixers)
