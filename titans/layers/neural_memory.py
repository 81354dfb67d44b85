"""The long-term memory as a layer: projections, data-dependent gates and the operator. Alone, it is the LMM."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from titans.layers.parts import Projection, merge_heads
from titans.models.config import MemoryConfig, ModelConfig
from titans.ops import MemoryState, neural_memory, read_memory
from titans.ops.neural_memory.state import State


class Tails(NamedTuple):
    """What the short convolutions of q, k and v still need of the past; None: nothing yet."""

    q: Tensor | None = None
    k: Tensor | None = None
    v: Tensor | None = None


class MemoryGates(nn.Module):
    """theta, eta and alpha of every token, one set per head or per head and memory layer."""

    def __init__(self, dim: int, heads: int, head_dim: int, memory: MemoryConfig) -> None:
        super().__init__()
        self.heads, self.sets = heads, memory.depth if memory.gates_per_layer else 1
        self.names = ["theta"] + ["eta"] * memory.momentum + ["alpha"] * memory.forgetting
        self.step = 2 * memory.step_scale(head_dim) / memory.chunk_size
        bias = {"theta": 0.0, "eta": memory.eta_bias, "alpha": memory.alpha_bias}
        self.init_std = {"weight": 0.0}  # at the start every token is treated alike
        self.weight = nn.Parameter(torch.zeros(len(self.names) * heads * self.sets, dim))
        self.bias = nn.Parameter(torch.tensor([bias[name] for name in self.names]).repeat_interleave(heads * self.sets))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """theta, eta, alpha `[batch, heads, time(, layers)]` from `[batch, time, dim]`; None for a gate that is off."""
        with torch.autocast(x.device.type, enabled=False):  # alpha and 1 - eta need the digits
            logits = nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias)
        values = torch.sigmoid(logits.unflatten(-1, (len(self.names), self.heads, self.sets))).permute(2, 0, 3, 1, 4)
        gates = dict(zip(self.names, values if self.sets > 1 else values.squeeze(-1), strict=True))
        eta = gates.get("eta")
        theta = self.step * gates["theta"] * (1 if eta is None else 1 - eta)  # momentum sums 1 / (1 - eta) steps
        return theta, eta, gates.get("alpha")


class NeuralMemory(nn.Module):
    """The neural long-term memory over a stream of tokens.

    Paper: V1 section 3; N25 for the convolution, the normalisation and the gate before the output projection.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, self.heads = config.memory, config.heads
        dim, head = config.dim, config.head_dim
        self.q, self.k = (Projection(dim, config.heads, config.conv_width, unit=True) for _ in range(2))
        self.v = Projection(dim, config.heads, config.conv_width, unit=False)
        self.gates = MemoryGates(dim, config.heads, head, config.memory)
        hidden = [head * config.memory.expansion] * (config.memory.depth - 1)
        widths = zip([*hidden, head], [head, *hidden], strict=True)
        self.initial = nn.ParameterList(nn.Parameter(torch.empty(config.heads, o, i)) for o, i in widths)
        self.norm = nn.RMSNorm(head)
        self.gate = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def start(self, batch: int) -> MemoryState:
        """The learned initial weights, and no momentum, for each sequence."""
        weights = tuple(w.expand(batch, -1, -1, -1) for w in self.initial)
        return MemoryState(weights, tuple(torch.zeros_like(w) for w in weights))

    def begin(self, persistent: Tensor, batch: int) -> tuple[Tensor, State]:
        """Write the persistent tokens `[tokens, dim]` first: what was read on them, and the state for each sequence.

        They are the same for all sequences, so they are written once; the tokens that follow start a new chunk.
        """
        if not persistent.shape[0]:
            return persistent.unsqueeze(0), self.start(batch)
        y, state, _ = self(persistent.unsqueeze(0), self.start(1))
        return y, type(state)(*(tuple(x.expand(batch, -1, -1, -1) for x in part) for part in state))

    def forward(self, x: Tensor, state: State, tails: Tails | None = None) -> tuple[Tensor, State, Tails]:
        """Write and read `[batch, time, dim]`; the output, the state after it and the convolutions' tails."""
        tails = tails or Tails()
        (q, q_tail), (k, k_tail), (v, v_tail) = self.q(x, tails.q), self.k(x, tails.k), self.v(x, tails.v)
        c = self.config
        theta, eta, alpha = self.gates(x)
        with torch.autocast(x.device.type, enabled=False):  # the state sums thousands of small writes
            q, k, v = (z.to(state.weights[0].dtype) for z in (q, k, v))
            y, state = neural_memory(
                q, k, v, theta, eta, alpha, state, chunk_size=c.chunk_size, activation=c.activation,
                residual=c.residual, loss=c.loss, outer_gradient=c.outer_gradient,
            )  # fmt: skip
        return self.emit(y, x), state, Tails(q_tail, k_tail, v_tail)

    def read(self, q: Tensor, x: Tensor, state: State) -> Tensor:
        """What the memory holds for the queries q of the tokens x, without writing them."""
        with torch.autocast(x.device.type, enabled=False):
            y = read_memory(state.weights, q.to(state.weights[0].dtype), self.config.activation, self.config.residual)
        return self.emit(y, x)

    def emit(self, y: Tensor, x: Tensor) -> Tensor:
        """Norm, linear gate from the token, output projection."""
        return self.out(merge_heads(self.norm(y)) * torch.nn.functional.silu(self.gate(x)))


class LongTermMemory(nn.Module):
    """LMM: the memory alone as the sequence mixer (V1 section 4.4), the persistent tokens written first."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.init_std = {"persistent": 1.0}  # as large as the normalised tokens that they stand before
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.memory = NeuralMemory(config)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, time, dim]` to the same."""
        _, state = self.memory.begin(self.persistent, x.shape[0])
        return self.memory(x, state)[0]
