"""What a model is: frozen configurations, without torch, so that planning is instant.

Paper = arXiv 2501.00663v1 ("V1"); N25 = its NeurIPS 2025 camera-ready. Where the papers leave a value
open, the default is ours and its comment says why.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

Variant = Literal["lmm", "mac", "mag", "mal", "transformer"]
Activation = Literal["gelu", "silu", "relu"]
InnerLoss = Literal["sum", "mean", "half"]

#: Fields of `ModelConfig` that only these variants read.
READ_BY: dict[str, frozenset[str]] = {
    "memory": frozenset({"lmm", "mac", "mag", "mal"}),
    "persistent_tokens": frozenset({"lmm", "mac", "mag", "mal"}),
    "conv_width": frozenset({"lmm", "mac", "mag", "mal"}),
    "segment": frozenset({"mac"}),
    "window": frozenset({"mag", "mal"}),
}


@dataclass(frozen=True)
class MemoryConfig:
    """The neural long-term memory of one head: an MLP that is trained while it is read.

    Attributes:
        depth: Layers of the memory MLP, L_M of the paper; 1 is a linear memory.
        expansion: Hidden width over head width; the hidden layers exist from depth 2 on. N25: 4.
        chunk_size: Tokens whose inner gradients share one anchor. N25: 16.
        momentum: Carry past surprise (eta); off, the update is the momentary surprise alone.
        forgetting: Decay the weights (alpha).
        residual: M(x) = x + LayerNorm(mlp(x)) (N25); off, the plain MLP (V1).
        activation: Between the layers of the memory.
        loss: Of the squared error over the head's width: "sum" (V1 eq. 12), "mean", "half" (V1 app. C).
        gates_per_layer: Each memory layer has gates of its own (N25); off, one set per head (V1).
        outer_gradient: Train through the writes (second order); off, the inner gradients are constants.
        theta_scale: Step size at the start times the chunk over (1 - eta). Null: for the summed loss 0.1 up to depth 2
            and 0.03 beyond, which stayed finite and alive at 32K tokens; for the others as much more as their
            gradients are smaller, so that only with a value given does `loss` make a difference.
        eta_bias: Logit of the momentum gate at the start.
        alpha_bias: Logit of the forget gate at the start. The papers give none; near 0 the memory is
            emptied within a chunk, at -4 within thousands of tokens.
    """

    depth: int = 2
    expansion: int = 4
    chunk_size: int = 16
    momentum: bool = True
    forgetting: bool = True
    residual: bool = True
    activation: Activation = "gelu"
    loss: InnerLoss = "sum"
    gates_per_layer: bool = True
    outer_gradient: bool = True
    theta_scale: float | None = None
    eta_bias: float = 0.0
    alpha_bias: float = -11.0

    def step_scale(self, head_dim: int) -> float:
        """`theta_scale`, or the default that null stands for."""
        if self.theta_scale is not None:
            return self.theta_scale
        return (0.1 if self.depth <= 2 else 0.03) * {"sum": 1, "mean": head_dim, "half": 2}[self.loss]

    def __post_init__(self) -> None:
        _at_least(self, 1, "depth", "expansion", "chunk_size")
        if self.theta_scale is not None and self.theta_scale < 0:
            raise ValueError(f"theta_scale: {self.theta_scale} is negative; a step size is at least 0")


@dataclass(frozen=True)
class ModelConfig:
    """A byte-level language model in the Llama-style block of N25.

    Attributes:
        variant: The sequence mixer of every block: the memory alone (lmm), as context (mac), gate (mag)
            or layer (mal), or full attention (transformer).
        vocab_size: Distinct tokens; 256 for bytes.
        dim: Width of the residual stream.
        blocks: Mixer and feed-forward pairs.
        heads: Heads of attention and of the memory; divides `dim` into an even width.
        feed_forward: Hidden width of the SwiGLU over `dim`.
        persistent_tokens: Learned tokens before every sequence (task knowledge). N25: 128.
        segment: Tokens that MAC attends over at a time, a multiple of the memory's chunk. N25: 512.
        window: Tokens that MAG and MAL attend back over. N25: 2048.
        conv_width: Causal depthwise convolution on the memory's q, k and v; 1 is none. N25: 4.
        memory: The long-term memory.
    """

    variant: Variant = "mac"
    vocab_size: int = 256
    dim: int = 128
    blocks: int = 2
    heads: int = 4
    feed_forward: float = 3.0
    persistent_tokens: int = 8
    segment: int = 64
    window: int = 64
    conv_width: int = 4
    memory: MemoryConfig = field(default_factory=MemoryConfig)

    def __post_init__(self) -> None:
        _at_least(self, 1, "vocab_size", "dim", "blocks", "heads", "segment", "window", "conv_width")
        _at_least(self, 0, "persistent_tokens")
        if self.dim % (2 * self.heads):
            raise ValueError(
                f"dim: {self.dim} is not divisible by 2 x heads ({self.heads}); rotary positions need even heads"
            )
        if self.feed_forward <= 0:
            raise ValueError(f"feed_forward: {self.feed_forward} is not above 0")
        if self.variant == "mac" and self.segment % self.memory.chunk_size:
            raise ValueError(
                f"segment: {self.segment} is not a multiple of memory.chunk_size ({self.memory.chunk_size}); "
                "MAC writes a segment in whole chunks"
            )

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.dim // self.heads

    @property
    def hidden(self) -> int:
        """Hidden width of the feed-forward layer, a multiple of 8."""
        return max(8, round(self.dim * self.feed_forward / 8) * 8)


def effective(config: ModelConfig) -> dict[str, Any]:
    """The fields that the model reads, as plain nested data: two models with equal ones are the same function.

    A transformer has no memory, a memory of depth 1 no hidden layer, and so on; what is not read has no part
    in a run's identity.
    """
    fields = dataclasses.asdict(config)
    for name, variants in READ_BY.items():
        if config.variant not in variants:
            del fields[name]
    if "memory" in fields and config.memory.depth == 1:
        del fields["memory"]["expansion"], fields["memory"]["activation"], fields["memory"]["gates_per_layer"]
    if "memory" in fields:
        fields["memory"]["theta_scale"] = config.memory.step_scale(config.head_dim)
        if not config.memory.momentum:
            del fields["memory"]["eta_bias"]
        if not config.memory.forgetting:
            del fields["memory"]["alpha_bias"]
    return fields


def _at_least(config: Any, least: int, *names: str) -> None:
    for name in names:
        if getattr(config, name) < least:
            raise ValueError(f"{name}: {getattr(config, name)} is below {least}")
