"""What a model is: frozen configurations, without torch, so that planning is instant.

Paper = arXiv 2501.00663v1 ("V1"); N25 = its NeurIPS 2025 camera-ready. Where the papers leave a value
open, the default is ours and its comment says why.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal

Variant = Literal["lmm", "mac", "mag", "mal", "transformer"]
Activation = Literal["gelu", "silu", "relu"]
InnerLoss = Literal["sum", "mean", "half"]
Combination = Literal["norm_sigmoid", "sigmoid", "product"]

#: Fields of `ModelConfig` that only these variants read.
READ_BY: dict[str, frozenset[str]] = {
    "memory": frozenset({"lmm", "mac", "mag", "mal"}),
    "persistent_tokens": frozenset({"lmm", "mac", "mag", "mal"}),
    "conv_width": frozenset({"lmm", "mac", "mag", "mal"}),
    "persistent_written": frozenset({"mac", "mag", "mal"}),
    "qkv_activation": frozenset({"lmm", "mac", "mag", "mal"}),
    "unit_qk": frozenset({"lmm", "mac", "mag", "mal"}),
    "combine": frozenset({"mac", "mag"}),
    "segment": frozenset({"mac"}),
    "mac": frozenset({"mac"}),
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
        theta_scale: Step size at the start times the chunk over (1 - eta), or over 1 without `theta_damping`; the gate
            can double it. Null: for the summed loss 0.1 up to depth 2 and 0.03 beyond, with residual 0.01 from depth 4
            on, which stayed finite and alive at 32K tokens (docs/stability.md); for the others as much more as their
            gradients are smaller, and without damping times the initial 1 - eta: so the first step stays the same, and
            only with a value given does `loss` make a difference.
        eta_bias: Logit of the momentum gate at the start.
        alpha_bias: Logit of the forget gate at the start. The papers give none; near 0 the memory is
            emptied within a chunk, at -4 within thousands of tokens.
        gate_span: One value of eta and alpha for each "token" (the papers' experiments), for each "chunk", that of its
            first token (V1 section 3.2 allows chunk-wise gates), or for each "group" of `update_every` tokens, from
            their mean (titans-pytorch). A mean over a chunk that is read token by token would leak the future.
        gate_channels: Which gates have a value for each channel of a layer's input: "none" (V1), "alpha" (N25), "all".
        update_every: Tokens whose writes reach the weights together; 1 (the papers) or a divisor of the chunk.
        read: Weights that a token reads: after its own write, "token" (the papers); those that its "chunk" started with
            (titans-pytorch, up to a chunk's last token); those that the "previous" chunk started with.
        reset_momentum: Every chunk starts without momentum; the papers carry it on.
        gain: Of the memory's LayerNorm: "none" (N25), "learned", or "fast": written like the weights (titans-pytorch).
        written: Layers that are written: "all" (the papers), the "first" or the "last" alone.
        ascent: Climb the inner loss: a sanity study (arXiv 2602.21204).
        initial: Weights before the first token: "learned" (titans-pytorch, TTT), "frozen" as they were drawn, or
            "zero", which only a linear memory can leave. The papers do not say.
        eval_chunk_size: Chunk in evaluation and generation; null: the training chunk (arXiv 2511.07343 on a mismatch).
        theta_damping: The step size is multiplied by 1 - eta, for momentum sums 1 / (1 - eta) steps: ours, for
            stability. The papers and titans-pytorch leave theta and eta to themselves.
        read_norm: RMSNorm, with a learned scale, of what a head reads (N25); titans-pytorch has none.
        output_gate: What the token multiplies the read with before the output projection: a SiLU for each "channel"
            (N25), a sigmoid for each "head" (titans-pytorch, where it has several heads), or "none" (there with one).
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
    gate_span: Literal["token", "chunk", "group"] = field(default="token", metadata={"neutral": "token"})
    gate_channels: Literal["none", "alpha", "all"] = field(default="none", metadata={"neutral": "none"})
    update_every: int = field(default=1, metadata={"neutral": 1})
    read: Literal["token", "chunk", "previous"] = field(default="token", metadata={"neutral": "token"})
    reset_momentum: bool = field(default=False, metadata={"neutral": False})
    gain: Literal["none", "learned", "fast"] = field(default="none", metadata={"neutral": "none"})
    written: Literal["all", "first", "last"] = field(default="all", metadata={"neutral": "all"})
    ascent: bool = field(default=False, metadata={"neutral": False})
    initial: Literal["learned", "frozen", "zero"] = field(default="learned", metadata={"neutral": "learned"})
    eval_chunk_size: int | None = field(default=None, metadata={"neutral": None})
    theta_damping: bool = field(default=True, metadata={"neutral": True})
    read_norm: bool = field(default=True, metadata={"neutral": True})
    output_gate: Literal["channel", "head", "none"] = field(default="channel", metadata={"neutral": "channel"})

    def step_scale(self, head_dim: int) -> float:
        """`theta_scale`, or the default that null stands for."""
        if self.theta_scale is not None:
            return self.theta_scale
        deep = 0.01 if self.residual and self.depth > 3 else 0.03  # LayerNorm divides by a deep MLP's small output
        undamped = self.momentum and not self.theta_damping
        first = (1 - math.tanh(self.eta_bias / 2)) / 2 if undamped else 1.0  # 1 - sigmoid, for any number
        return (0.1 if self.depth <= 2 else deep) * first * {"sum": 1, "mean": head_dim, "half": 2}[self.loss]

    @property
    def layers(self) -> int:
        """Of the memory: its matrices, and then the gain of its LayerNorm if it has one."""
        return self.depth + (self.gain != "none")

    @property
    def written_layers(self) -> tuple[int, ...]:
        """Those that are written, counted from 0."""
        first, last = (0,), (self.depth - 1,)
        matrices = {"all": tuple(range(self.depth)), "first": first, "last": last}[self.written]
        return (*matrices, self.depth) if self.gain == "fast" else matrices

    def __post_init__(self) -> None:
        _at_least(self, 1, "depth", "expansion", "chunk_size", "update_every")
        for name in ("chunk_size", "eval_chunk_size"):
            if (getattr(self, name) or 0) % self.update_every:
                raise ValueError(f"update_every: {self.update_every} does not divide {name} ({getattr(self, name)})")
        if self.eval_chunk_size is not None:
            _at_least(self, 1, "eval_chunk_size")
        if self.gain != "none" and not self.residual:
            raise ValueError(f"gain: {self.gain} needs residual, for there is no LayerNorm without")
        if self.initial == "zero" and self.depth > 1:
            raise ValueError(f"initial: zero needs depth 1; a memory of depth {self.depth} has no gradient there")
        if self.theta_scale is not None and self.theta_scale < 0:
            raise ValueError(f"theta_scale: {self.theta_scale} is negative; a step size is at least 0")


@dataclass(frozen=True)
class MacConfig:
    """Readings of memory as context on which sources and implementations differ.

    Attributes:
        write: What is written: attention's "output" (the papers) or its "input" (titans-pytorch).
        order: Recall, attend, then write ("attend_first", the papers), or write the segment's input first and let
            attention see what was read after each token's own write ("write_first").
        read: Weights behind the segment's output: after each token's "own" write, those of the segment's "start", or of
            its end, the papers' letter, by which a token sees later ones: "end_leaks", refused in training.
        positions: Rotary places: h_j where x_j stands ("shared", ours), or those of the concatenation
            [persistent, h, x] ("phs", V1) or [persistent, x, h] ("psh", N25).
        long_term_tokens: Learned queries, read from the memory for every segment and seen by all of it. N25: 256.
        reset: Every segment starts from the initial memory; the papers carry it on.
    """

    write: Literal["output", "input"] = field(default="output", metadata={"neutral": "output"})
    order: Literal["attend_first", "write_first"] = field(default="attend_first", metadata={"neutral": "attend_first"})
    read: Literal["own", "start", "end_leaks"] = field(default="own", metadata={"neutral": "own"})
    positions: Literal["shared", "phs", "psh"] = field(default="shared", metadata={"neutral": "shared"})
    long_term_tokens: int = field(default=0, metadata={"neutral": 0})
    reset: bool = field(default=False, metadata={"neutral": False})

    def __post_init__(self) -> None:
        _at_least(self, 0, "long_term_tokens")
        if self.order == "write_first" and self.write == "output":
            raise ValueError("write: output is not there yet when order is write_first; set it to input")
        if self.order == "write_first" and self.read != "own":
            raise ValueError(f"read: {self.read} says nothing when order is write_first; leave it at own")


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
        mac: Readings of memory as context.
        persistent_written: The persistent tokens are written to the memory too: yes for lmm, mag and mal by V1's
            formulas, whose sequence begins with them, no for mac. Null: so.
        combine: The product of attention and memory in mac and mag: both normalised with a learned scale and the second
            through a sigmoid ("norm_sigmoid", V1 section 4.2), the second through a "sigmoid", or the raw "product".
        qkv_activation: Of the memory's q, k and v: "silu" (N25) or "none".
        unit_qk: Keys and queries of the memory have length 1 (N25).
        tied: The output projection is the embedding (arXiv 1608.05859), as where few examples meet a large vocabulary.
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
    mac: MacConfig = field(default_factory=MacConfig)
    persistent_written: bool | None = field(default=None, metadata={"neutral": None})
    combine: Combination = field(default="norm_sigmoid", metadata={"neutral": "norm_sigmoid"})
    qkv_activation: Literal["silu", "none"] = field(default="silu", metadata={"neutral": "silu"})
    unit_qk: bool = field(default=True, metadata={"neutral": True})
    tied: bool = field(default=False, metadata={"neutral": False})

    def __post_init__(self) -> None:
        _at_least(self, 1, "vocab_size", "dim", "blocks", "heads", "segment", "window", "conv_width")
        _at_least(self, 0, "persistent_tokens")
        if self.dim % (2 * self.heads):
            raise ValueError(
                f"dim: {self.dim} is not divisible by 2 x heads ({self.heads}); rotary positions need even heads"
            )
        if self.feed_forward <= 0:
            raise ValueError(f"feed_forward: {self.feed_forward} is not above 0")
        for name in ("chunk_size", "eval_chunk_size"):
            chunk = getattr(self.memory, name)
            if self.variant == "mac" and chunk is not None and self.segment % chunk:
                raise ValueError(
                    f"segment: {self.segment} is not a multiple of memory.{name} ({chunk}); "
                    "MAC writes a segment in whole chunks"
                )

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.dim // self.heads

    @property
    def writes_persistent(self) -> bool:
        """Whether the persistent tokens are written to the memory."""
        return self.variant != "mac" if self.persistent_written is None else self.persistent_written

    @property
    def leaks(self) -> str | None:
        """The key of a setting by which a token sees later ones, if there is one."""
        return "mac.read" if self.variant == "mac" and self.mac.read == "end_leaks" else None

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
    usual = dataclasses.replace(config, persistent_written=None).writes_persistent
    if config.writes_persistent == usual or not config.persistent_tokens:
        fields["persistent_written"] = None
    for name, variants in READ_BY.items():
        if config.variant not in variants:
            del fields[name]
    if "memory" in fields:
        fields["memory"] |= _in_one_spelling(config)
        for name in _idle(config.memory):
            del fields["memory"][name]
    return fields


def _in_one_spelling(config: ModelConfig) -> dict[str, Any]:
    """Values of the memory that can be said in two ways."""
    memory, channels = config.memory, config.memory.gate_channels
    if channels == "all" and not memory.momentum:
        channels = "alpha"
    if channels == "alpha" and not memory.forgetting:
        channels = "none"
    return {
        "theta_scale": memory.step_scale(config.head_dim),
        "gate_channels": channels,
        "gates_per_layer": memory.gates_per_layer or memory.gate_channels != "none",
        "gate_span": "token" if memory.gate_span == "group" and memory.update_every == 1 else memory.gate_span,
        "eval_chunk_size": None if memory.eval_chunk_size == memory.chunk_size else memory.eval_chunk_size,
    }


def _idle(memory: MemoryConfig) -> set[str]:
    """Fields that make no difference with what the others are."""
    linear = {"expansion", "activation", "written"} if memory.depth == 1 else set()
    alone = {"gates_per_layer"} if len(memory.written_layers) == 1 else set()
    no_momentum = set() if memory.momentum else {"eta_bias", "reset_momentum", "theta_damping"}
    no_forgetting = set() if memory.forgetting else {"alpha_bias"}
    no_gates = set() if memory.momentum or memory.forgetting else {"gate_span"}
    return linear | alone | no_momentum | no_forgetting | no_gates


def _at_least(config: Any, least: int, *names: str) -> None:
    for name in names:
        if getattr(config, name) < least:
            raise ValueError(f"{name}: {getattr(config, name)} is below {least}")
