"""Configuration of the long-term memory: its form, how it is written, and how it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from titans.models.config.checks import at_least, at_most

Activation = Literal["gelu", "silu", "relu"]
InnerLoss = Literal["sum", "mean", "half"]
Objective = Literal["l2", "lp", "huber", "dot"]
DEEPEST = 1000  # layers; a limit because costs are computed layer by layer
HIGHEST = 8  # degree of the features; 1 / 9! is nothing beside 1


@dataclass(frozen=True)
class MemoryConfig:
    """The neural long-term memory: for each head an MLP that learns from the sequence while the sequence is read.

    Attributes:
        depth: Layers of the memory MLP, L_M in the Titans paper; 1 is a linear memory.
        expansion: Width of the hidden layers over the width of a head; there are hidden layers from depth 2 on. The
            NeurIPS 2025 camera-ready has 4.
        chunk_size: Tokens whose inner gradients are taken at the same weights, those at the start of the chunk. For a
            deep memory this changes the function, not only the speed. The NeurIPS 2025 camera-ready has 16.
        momentum: Whether the update carries past surprise (the gate eta). Without, it is the momentary surprise alone.
        forgetting: Whether the weights decay (the gate alpha).
        residual: Whether the memory is M(x) = x + LayerNorm(MLP(x)), as in the NeurIPS 2025 camera-ready, or the plain
            MLP of the arXiv v1.
        activation: Activation between the layers of the memory.
        loss: Inner loss, from the squared error over the width of a head: its "sum" (arXiv v1, eq. 12), its "mean", or
            "half" of the sum (arXiv v1, appendix C).
        objective: What a write minimises, the attentional bias of MIRAS (arXiv 2504.13173): "l2", the squared error
            (Titans); "lp", the error to the power `objective_power` (Moneta); "huber", the squared error up to a
            threshold and linear beyond it (Yaad); or "dot", minus the product of what the memory says with the value
            (linear attention, LaCT). `loss` scales each of them. Those but l2 run in torch's steps.
        objective_power: Power p of the objective lp, from 1 to 4. Moneta has 3.
        huber_threshold: Initial threshold of the objective huber on the root mean square of the error over the width of
            a head, which a token and head learns as softplus(w x + b). The paper gives none.
        window: Tokens whose losses a token's step sums, the Omega rule of ATLAS (arXiv 2505.23735): its own and those
            of the `window` - 1 tokens before it, each times a gate in [0, 1] that is learned from the token. 1: its own
            alone, without a gate (Titans). A larger window runs in torch's steps.
        gamma_bias: Initial logit of the window's gates. The paper gives none.
        feature_degree: Degree p of a polynomial that keys and queries pass, element by element, before their length is
            normalised: sum of a_i x^i for i from 1 to p, with coefficients that a head learns and that start at 1 / i!
            (ATLAS, arXiv 2505.23735). There is no constant, so that a key of zeros stays one. 1: none (Titans).
        inner_optimizer: How a step moves the weights: "gd", by the momentum (Titans), or "muon", by theta times the
            momentum after five Newton-Schulz steps, which make its singular values nearly equal (ATLAS, LaCT). They are
            taken once for every `update_every` tokens, so that 1 is the formula of ATLAS, and `chunk_size` one move a
            chunk. Muon takes no notice of the scale of gradients, so that `theta_damping` and what null for
            `theta_scale` compensates for do not apply. It runs in torch's steps.
        gates_per_layer: Whether each layer of the memory has gates of its own, as in the NeurIPS 2025 camera-ready, or
            a head has one set for all layers, as in the arXiv v1.
        outer_gradient: Whether training differentiates through the inner gradients (second order). Without, the inner
            gradients are constants.
        theta_scale: Initial step size: theta starts at theta_scale / chunk_size x (1 - eta), without the last factor if
            `theta_damping` is off, and can at most double. Null: 0.1 up to depth 2, 0.03 beyond, and 0.01 from depth 4
            on with `residual`, values at which training was stable for 32K tokens (docs/stability.md). Null also
            compensates for the scale of `loss`, for the initial sum of the gates of a `window` and, without damping,
            for the initial 1 - eta, so that the first step does not depend on any of them.
        theta_ceiling: Largest step size, in the unit of `theta_scale`, which it needs. Null: twice `theta_scale`.
        theta_range: How the gate, s from 0 to 1, goes through its range: "linear", theta = ceiling x s, or "log", from
            start^2 / ceiling to ceiling by equal factors, so that a step is learned over decades as easily up as down.
        theta_budget: Upper bound on the sum of a chunk's steps. At 1, the writes of a chunk replace at most what a
            linear memory holds for a key that all of its tokens have. With b the steps before a token in its chunk and
            c the budget, the token's step is c (exp(-b / c) - exp(-(b + theta) / c)) instead of theta. Needs
            `theta_damping`. With a `window`, the steps are divided by the sum of its gates where that is above 1.
            Null: none (docs/stability.md).
        eta_bias: Initial logit of the momentum gate. The paper gives none.
        alpha_bias: Initial logit of the forget gate. The paper gives none. Near 0 the memory is emptied within a chunk,
            at -4 within thousands of tokens.
        gate_span: Tokens that share a value of eta and alpha. "token": each has its own (the paper's experiments).
            "chunk": those of a chunk, with the value of the chunk's first token (allowed by the arXiv v1, section 3.2).
            "group": those of a group of `update_every` tokens, with the group's mean (titans-pytorch). A mean over a
            whole chunk would leak the future into reads within the chunk.
        gate_channels: Gates that have a value for each channel of a layer's input: "none" (the arXiv v1), "alpha" (the
            NeurIPS 2025 camera-ready), or "all", which is alpha and eta.
        update_every: Tokens whose writes reach the weights together; 1 in the paper. A divisor of `chunk_size`.
        read: Weights that a token reads: those after its own write, "token" (the paper); those at the start of its
            "chunk" (titans-pytorch, up to the last token of a chunk); those at the start of the "previous" chunk.
        reset_momentum: Whether every chunk starts without momentum. The paper carries the momentum on.
        gain: Gain of the memory's LayerNorm: "none" (the NeurIPS 2025 camera-ready), "learned", or "fast", which is
            written like the weights (titans-pytorch).
        written: Layers that are written: "all" (the paper), the "first", or the "last".
        ascent: Whether writes climb the inner loss instead of descending it: a control (arXiv 2602.21204).
        initial: Weights before the first token: "learned" (titans-pytorch, TTT), "frozen" at their random values, or
            "zero", from which only a linear memory has a gradient. The paper does not say.
        initial_std: Standard deviation of the normal distribution that the initial weights are drawn from. Null:
            fan_in^-1/2. TTT has 0.02.
        eval_chunk_size: Chunk size in evaluation and generation. Null: `chunk_size`. arXiv 2511.07343 studies a
            mismatch.
        theta_damping: Whether the step size is multiplied by 1 - eta, because momentum adds up 1 / (1 - eta) steps.
            This is this project's choice, for stability. The paper and titans-pytorch do not.
        read_norm: Whether what a head reads passes an RMSNorm with a learned scale, as in the NeurIPS 2025
            camera-ready. titans-pytorch has none.
        output_gate: Gate, from the token, on what was read: a SiLU for each "channel" (the NeurIPS 2025 camera-ready),
            a sigmoid for each "head" (titans-pytorch with several heads), or "none" (titans-pytorch with one head).
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
    initial_std: float | None = field(default=None, metadata={"neutral": None})
    eval_chunk_size: int | None = field(default=None, metadata={"neutral": None})
    theta_damping: bool = field(default=True, metadata={"neutral": True})
    read_norm: bool = field(default=True, metadata={"neutral": True})
    output_gate: Literal["channel", "head", "none"] = field(default="channel", metadata={"neutral": "channel"})
    theta_ceiling: float | None = field(default=None, metadata={"neutral": None})
    theta_range: Literal["linear", "log"] = field(default="linear", metadata={"neutral": "linear"})
    theta_budget: float | None = field(default=None, metadata={"neutral": None})
    objective: Objective = field(default="l2", metadata={"neutral": "l2"})
    objective_power: float = field(default=3.0, metadata={"neutral": 3.0})
    huber_threshold: float = field(default=1.0, metadata={"neutral": 1.0})
    window: int = field(default=1, metadata={"neutral": 1})
    gamma_bias: float = field(default=0.0, metadata={"neutral": 0.0})
    feature_degree: int = field(default=1, metadata={"neutral": 1})
    inner_optimizer: Literal["gd", "muon"] = field(default="gd", metadata={"neutral": "gd"})

    def step_scale(self, head_dim: int) -> float:
        """Return `theta_scale`, or the value that null stands for, given the width of a head."""
        if self.theta_scale is not None:
            return self.theta_scale
        deep = 0.01 if self.residual and self.depth > 3 else 0.03  # LayerNorm amplifies the small output of a deep MLP
        size = 0.1 if self.depth <= 2 else deep
        if self.inner_optimizer == "muon":
            return size
        undamped = self.momentum and not self.theta_damping
        first = (1 - math.tanh(self.eta_bias / 2)) / 2 if undamped else 1.0  # 1 - sigmoid, for any number
        scale = {"sum": 1, "mean": head_dim, "half": 2}[self.loss] / self.window_sum
        return size * first * scale

    def step_ceiling(self, head_dim: int) -> float:
        """Return `theta_ceiling`, or the value that null stands for, given the width of a head."""
        return 2 * self.step_scale(head_dim) if self.theta_ceiling is None else self.theta_ceiling

    def step_budget(self, head_dim: int) -> float | None:
        """Return the most that the steps of a chunk add up to, given the width of a head; None: there is no bound."""
        slope = {"sum": 2.0, "half": 1.0, "mean": 2.0 / head_dim}[self.loss]  # of the loss's gradient
        return None if self.theta_budget is None else self.theta_budget / slope

    @property
    def window_sum(self) -> float:
        """Return the initial sum of the window's gates; a window of 1 has none, and counts its token once."""
        return 1.0 if self.window == 1 else self.window * (1 + math.tanh(self.gamma_bias / 2)) / 2

    @property
    def layers(self) -> int:
        """Return the number of layers: the matrices, and the gain of the LayerNorm if there is one."""
        return self.depth + (self.gain != "none")

    @property
    def written_layers(self) -> tuple[int, ...]:
        """Return the numbers of the layers that are written, from 0."""
        first, last = (0,), (self.depth - 1,)
        matrices = {"all": tuple(range(self.depth)), "first": first, "last": last}[self.written]
        return (*matrices, self.depth) if self.gain == "fast" else matrices

    def __post_init__(self) -> None:
        at_least(self, 1, "depth", "expansion", "chunk_size", "update_every", "eval_chunk_size", "window")
        at_least(self, 1, "feature_degree")
        at_most(self, DEEPEST, "depth")
        at_most(self, HIGHEST, "feature_degree")
        for name in ("chunk_size", "eval_chunk_size"):
            if (getattr(self, name) or 0) % self.update_every:
                raise ValueError(f"update_every: {self.update_every} does not divide {name} ({getattr(self, name)})")
        if self.gain != "none" and not self.residual:
            raise ValueError(f"gain: {self.gain} needs residual: true, since only a residual memory has a LayerNorm")
        if self.initial == "zero" and self.depth > 1:
            raise ValueError(f"initial: zero needs depth 1; at zero a memory of depth {self.depth} has no gradient")
        if self.initial_std is not None and self.initial_std <= 0:
            raise ValueError(f'initial_std: {self.initial_std} is not above 0; for weights of 0 set initial: "zero"')
        if self.theta_scale is not None and self.theta_scale < 0:
            raise ValueError(f"theta_scale: {self.theta_scale} is negative; a step size is at least 0")
        if not 1 <= self.objective_power <= 4:
            raise ValueError(f"objective_power: {self.objective_power} is not between 1 and 4")
        if self.huber_threshold <= 0:
            raise ValueError(f"huber_threshold: {self.huber_threshold} is not above 0")
        if self.inner_optimizer == "muon" and self.gain == "fast":
            raise ValueError(
                "inner_optimizer: muon moves matrices, and gain: fast is a vector; set gain to none or learned"
            )
        self._check_step()

    def _check_step(self) -> None:
        """Refuse a ceiling and a budget that no step can have."""
        start, ceiling = self.theta_scale, self.theta_ceiling
        if ceiling is not None and not start:
            raise ValueError("theta_ceiling: needs theta_scale, the start below it; set theta_scale above 0")
        if ceiling is not None and start is not None and ceiling <= start:
            raise ValueError(f"theta_ceiling: {ceiling} is not above theta_scale ({start}), the start")
        if self.theta_range == "log" and start == 0:
            raise ValueError("theta_range: log needs a theta_scale above 0")
        if self.theta_budget is not None and self.theta_budget <= 0:
            raise ValueError(f"theta_budget: {self.theta_budget} is not above 0")
        if self.theta_budget is not None and self.objective in ("lp", "dot"):
            raise ValueError(f"theta_budget: has no meaning with objective: {self.objective}, whose curvature is not 1")
        if self.theta_budget is not None and self.inner_optimizer == "muon":
            raise ValueError("theta_budget: has no meaning with inner_optimizer: muon, whose moves have one size")
        if self.theta_budget is not None and self.momentum and not self.theta_damping:
            raise ValueError("theta_budget: needs theta_damping: true, for momentum adds up 1 / (1 - eta) steps")
