"""The long-term memory: what it is, how it is written and how it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from titans.models.config.checks import at_least, at_most

Activation = Literal["gelu", "silu", "relu"]
InnerLoss = Literal["sum", "mean", "half"]
DEEPEST = 1000  # layers: costs are counted layer by layer


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
        at_least(self, 1, "depth", "expansion", "chunk_size", "update_every", "eval_chunk_size")
        at_most(self, DEEPEST, "depth")
        for name in ("chunk_size", "eval_chunk_size"):
            if (getattr(self, name) or 0) % self.update_every:
                raise ValueError(f"update_every: {self.update_every} does not divide {name} ({getattr(self, name)})")
        if self.gain != "none" and not self.residual:
            raise ValueError(f"gain: {self.gain} needs residual, for there is no LayerNorm without")
        if self.initial == "zero" and self.depth > 1:
            raise ValueError(f"initial: zero needs depth 1; a memory of depth {self.depth} has no gradient there")
        if self.theta_scale is not None and self.theta_scale < 0:
            raise ValueError(f"theta_scale: {self.theta_scale} is negative; a step size is at least 0")
