"""The long-term memory as a layer: projections, data-dependent gates and the operator. Alone, it is the LMM."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.mixer import Mixer
from titans.mixers.parts import Projection, RMSNorm, merge_heads, split_heads
from titans.models.config import ModelConfig
from titans.ops import MemoryState, naive_neural_memory, neural_memory, read_memory
from titans.ops.neural_memory.state import Gate, State

Operator = Callable[..., tuple[Tensor, State]]  # with the arguments of `neural_memory`


class Tails(NamedTuple):
    """What the short convolutions of q, k and v still need of the past; None: nothing yet."""

    q: Tensor | None = None
    k: Tensor | None = None
    v: Tensor | None = None


class MemoryStream(NamedTuple):
    """What the memory carries from token to token: of constant size.

    Attributes:
        state: Weights and momentum at the start of the chunk.
        k, v: Of the chunk's tokens so far, `[batch, heads, tokens, head_dim]`.
        logits: Of their gates, `[batch, tokens, gates]`.
        tails: Of the convolutions.
    """

    state: State
    k: Tensor
    v: Tensor
    logits: Tensor
    tails: Tails


class MemoryGates(nn.Module):
    """theta, eta and alpha of every token: per head, per head and memory layer, or per channel of a layer's input."""

    def __init__(self, config: ModelConfig, inputs: dict[int, int]) -> None:
        """`inputs`: the width of the input of each layer that is written; 0 for one that has no matrix."""
        super().__init__()
        memory = config.memory
        self.memory, self.heads, self.written = memory, config.n_heads, tuple(inputs)
        self.step = 2 * memory.step_scale(config.head_dim) / memory.chunk_size
        biases = {"theta": 0.0}
        if memory.momentum:
            biases["eta"] = memory.eta_bias
        if memory.forgetting:
            biases["alpha"] = memory.alpha_bias
        self.widths = {name: self._widths(name, list(inputs.values())) for name in biases}
        rows = {name: config.n_heads * sum(widths) for name, widths in self.widths.items()}
        self.init_std = {"weight": 0.0}  # at the start every token is treated alike
        self.weight = nn.Parameter(torch.zeros(sum(rows.values()), config.dim))
        self.bias = nn.Parameter(torch.cat([torch.full((rows[name],), bias) for name, bias in biases.items()]))

    def _widths(self, name: str, inputs: list[int]) -> list[int]:
        """Values a head of each set of gates; one set, or one for each layer."""
        per_channel = {"none": (), "alpha": ("alpha",), "all": ("eta", "alpha")}[self.memory.gate_channels]
        if name in per_channel:
            return [max(1, width) for width in inputs]
        return [1] * (len(inputs) if self.memory.gates_per_layer or self.memory.gate_channels != "none" else 1)

    def logits(self, x: Tensor) -> Tensor:
        """`[batch, time, dim]` to `[batch, time, gates]`, in the parameters' precision under autocast too."""
        with torch.autocast(x.device.type, enabled=False):  # alpha and 1 - eta need the digits
            return F.linear(x.to(self.weight.dtype), self.weight, self.bias)

    def forward(self, logits: Tensor, chunk_size: int) -> tuple[Gate, Gate | None, Gate | None]:
        """theta, eta and alpha as the operator takes them, None for one that is off; the logits start a chunk."""
        sizes = [self.heads * sum(widths) for widths in self.widths.values()]
        by_name = dict(zip(self.widths, logits.split(sizes, -1), strict=True))
        for name in by_name.keys() - {"theta"}:
            by_name[name] = self._spanned(by_name[name], chunk_size)
        sets = {name: self._sets(x, self.widths[name]) for name, x in by_name.items()}
        eta = sets.get("eta")
        theta = [self.step * x for x in sets["theta"]]
        if eta is not None and self.memory.theta_damping:  # momentum sums 1 / (1 - eta) steps
            theta = [x * (1 - (e.mean(-1) if e.dim() == 4 else e)) for x, e in zip(theta, eta, strict=True)]
        placed = {name: self._placed(of_layers) for name, of_layers in (sets | {"theta": theta}).items()}
        return placed["theta"], placed.get("eta"), placed.get("alpha")

    def _spanned(self, logits: Tensor, chunk_size: int) -> Tensor:
        """One value over each chunk or group, where that is asked for."""
        if self.memory.gate_span == "token":
            return logits
        time = logits.shape[1]
        size = chunk_size if self.memory.gate_span == "chunk" else self.memory.update_every
        parts = logits.split(size, 1)
        if self.memory.gate_span == "chunk":
            return torch.cat([part[:, :1].expand_as(part) for part in parts], 1)
        return torch.cat([part.mean(1, keepdim=True).expand_as(part) for part in parts], 1)[:, :time]

    def _sets(self, logits: Tensor, widths: list[int]) -> list[Tensor]:
        """`[batch, heads, time]` or `[batch, heads, time, channels]` a set, between 0 and 1."""
        sets = torch.sigmoid(logits).split([self.heads * width for width in widths], -1)
        split = [x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in sets]
        return [x.squeeze(-1) if width == 1 else x for x, width in zip(split, widths, strict=True)]

    def _placed(self, sets: list[Tensor]) -> Gate:
        """One set for all layers, or one a layer, of which those that are not written do not look at theirs."""
        if len(sets) == 1 and sets[0].dim() == 3:
            return sets[0]
        idle = sets[0].new_zeros(sets[0].shape[:3])
        by_layer = dict(zip(self.written, sets, strict=True))
        return tuple(by_layer.get(layer, idle) for layer in range(self.memory.layers))


class NeuralMemory(nn.Module):
    """The neural long-term memory over a stream of tokens.

    Paper: V1 section 3; N25 for the convolution, the normalisation and the gate before the output projection.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        memory, dim, head = config.memory, config.dim, config.head_dim
        self.config, self.heads = memory, config.n_heads
        self.operator: Operator = neural_memory  # to compare forms, or to look on, another one can stand here
        form = (config.dim, config.dim, config.n_heads, config.conv_size, config.qkv_activation == "silu")
        self.q, self.k, self.v = (Projection(*form, unit=config.qk_l2_norm and role != "v") for role in ("q", "k", "v"))
        hidden = [head * memory.expansion] * (memory.depth - 1)
        shapes: list[tuple[int, ...]] = [
            (config.n_heads, o, i) for o, i in zip([*hidden, head], [head, *hidden], strict=True)
        ]
        if memory.gain != "none":
            shapes.append((config.n_heads, head))
        inputs = [shape[2] if len(shape) == 3 else 0 for shape in shapes]
        self.gates = MemoryGates(config, {layer: inputs[layer] for layer in memory.written_layers})
        learned = memory.initial == "learned"
        self.initial = nn.ParameterList(nn.Parameter(torch.zeros(s), requires_grad=learned) for s in shapes)
        self.initial.init_std = self._initial_std(len(shapes))  # type: ignore[assignment]
        self.norm = RMSNorm(head) if memory.read_norm else nn.Identity()
        gates = {"channel": dim, "head": self.heads, "none": 0}[memory.output_gate]
        self.gate = nn.Linear(dim, gates, bias=False) if gates else None
        self.out = nn.Linear(dim, dim, bias=False)

    def _initial_std(self, layers: int) -> dict[str, float]:
        if self.config.initial == "zero":
            return {str(i): 0.0 for i in range(layers)}
        return {} if self.config.gain == "none" else {str(layers - 1): 0.0}  # a gain of 1

    def use_kernel(self, kernel: str) -> None:
        """Compute with a kernel of `neural_memory`; "fla" has none for the memory and leaves it as it is."""
        if kernel != "fla":
            self.operator = partial(neural_memory, kernel=kernel)  # type: ignore[arg-type]

    @property
    def chunk_size(self) -> int:
        """Tokens a chunk, now: evaluation may have one of its own."""
        return self.config.chunk_size if self.training else self.config.eval_chunk_size or self.config.chunk_size

    @property
    def written(self) -> tuple[int, ...] | None:
        """The operator's layers that are written."""
        chosen = self.config.written_layers
        return None if len(chosen) == self.config.layers else chosen

    def start(self, batch: int) -> MemoryStream:
        """The initial weights, no momentum, and no token yet, for each sequence."""
        weights = tuple(w.expand(batch, *w.shape) for w in self.initial)
        return self.resume(MemoryState(weights, tuple(torch.zeros_like(w) for w in weights)))

    def resume(self, state: State) -> MemoryStream:
        """A stream that starts a new chunk with this state."""
        some = state.weights[0]
        empty = some.new_zeros(some.shape[0], self.heads, 0, some.shape[-1])
        return MemoryStream(state, empty, empty, some.new_zeros(some.shape[0], 0, len(self.gates.bias)), Tails())

    def after(self, persistent: Tensor, batch: int) -> tuple[Tensor, MemoryStream]:
        """Write the persistent tokens `[tokens, dim]` first: what was read on them `[1, tokens, dim]`, and the stream.

        They are the same for all sequences, so they are written once; the tokens that follow start a new chunk.
        """
        if not persistent.shape[0]:
            return persistent.unsqueeze(0), self.start(batch)
        x = persistent.unsqueeze(0)
        q, inputs, _ = self._project(x, x, Tails())
        y, state = self._operate(q, inputs, self.start(1).state)
        parts = (tuple(w.expand(batch, *w.shape[1:]) for w in part) for part in state)
        return self.emit(y, x), self.resume(type(state)(*parts))

    def forward(self, x: Tensor, stream: MemoryStream, asking: Tensor | None = None) -> tuple[Tensor, MemoryStream]:
        """Write the next tokens `[batch, time, dim]` of a stream and read it after each.

        Args:
            x: What is written.
            stream: Where the stream stands.
            asking: What the queries are made of; None: x.

        Returns:
            What was read, like x, and the stream after it.
        """
        asking = x if asking is None else asking
        q, new, tails = self._project(x, asking, stream.tails)
        past = stream.k.shape[2]
        inputs = _after_those(stream, new) if past else new
        q = F.pad(q, (0, 0, past, 0)) if past else q  # what waits is written again, and was read before
        time = q.shape[2]
        whole = time - time % self.chunk_size
        outputs, state = [], stream.state
        if whole:
            y, state = self._operate(q[:, :, :whole], _cut(inputs, 0, whole), state)
            outputs.append(y)
        rest = _cut(inputs, whole, time)
        if whole < time:
            outputs.append(self._operate(q[:, :, whole:], rest, state)[0])
        y = torch.cat(outputs, 2) if whole < time else outputs[0]
        return self.emit(y[:, :, past:], asking), MemoryStream(state, *rest, tails)

    def settled(self, stream: MemoryStream) -> State:
        """The state after all tokens so far, those of an unfinished chunk too."""
        inputs = (stream.k, stream.v, stream.logits)
        return self._operate(stream.k, inputs, stream.state)[1] if stream.k.shape[2] else stream.state

    def read(self, q: Tensor, x: Tensor, state: State) -> Tensor:
        """What the memory holds for the queries q of the tokens x, without writing them."""
        c = self.config
        with torch.autocast(x.device.type, enabled=False):
            y = read_memory(state.weights, q.to(state.weights[0].dtype), c.activation, c.residual, c.gain != "none")
        return self.emit(y, x)

    def emit(self, y: Tensor, x: Tensor) -> Tensor:
        """Norm, gate from the token, output projection."""
        y = self.norm(y)
        if self.gate is not None:
            gate = split_heads(self.gate(x), self.heads)
            y = y * (F.silu(gate) if self.config.output_gate == "channel" else torch.sigmoid(gate))
        return self.out(merge_heads(y))

    def _project(self, x: Tensor, asking: Tensor, tails: Tails) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], Tails]:
        """q, then k, v and the gates' logits, and the convolutions' tails."""
        (q, q_tail), (k, k_tail), (v, v_tail) = self.q(asking, tails.q), self.k(x, tails.k), self.v(x, tails.v)
        dtype = self.initial[0].dtype  # under autocast too: the state sums thousands of small writes
        return q.to(dtype), (k.to(dtype), v.to(dtype), self.gates.logits(x)), Tails(q_tail, k_tail, v_tail)

    def _operate(self, q: Tensor, inputs: tuple[Tensor, ...], state: State) -> tuple[Tensor, State]:
        """The operator on tokens that start a chunk."""
        c, (k, v, logits) = self.config, inputs
        with torch.autocast(q.device.type, enabled=False):
            theta, eta, alpha = self.gates(logits, self.chunk_size)
            return self.operator(
                q, k, v, theta, eta, alpha, state, self.chunk_size, c.activation, c.residual, c.loss, c.outer_gradient,
                update_every=c.update_every, read=c.read, reset_momentum=c.reset_momentum, ascent=c.ascent,
                written=self.written, gain=c.gain != "none",
            )  # fmt: skip


def _after_those(stream: MemoryStream, new: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """What waits for its chunk to be whole, and then the new tokens."""
    k, v, logits = new
    return torch.cat((stream.k, k), 2), torch.cat((stream.v, v), 2), torch.cat((stream.logits, logits), 1)


def _cut(inputs: tuple[Tensor, ...], begin: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
    k, v, logits = inputs
    return k[:, :, begin:end], v[:, :, begin:end], logits[:, begin:end]


class LongTermMemory(Mixer):
    """LMM: the memory alone as the sequence mixer (V1 section 4.4), the persistent tokens written first."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.init_std = {"persistent": 1.0}  # as large as the normalised tokens that they stand before
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.memory = NeuralMemory(config)

    def start(self, batch: int) -> MemoryStream:
        """Before the first token."""
        return self.memory.after(self.persistent, batch)[1]

    def forward(self, x: Tensor, stream: MemoryStream) -> tuple[Tensor, MemoryStream]:
        """The next tokens `[batch, time, dim]`."""
        return self.memory(x, stream)


def write_token_by_token(mixer: Mixer) -> None:
    """Make the memories in a mixer compute with the reference implementation: token by token, gradients by autograd."""
    for module in mixer.modules():
        if isinstance(module, NeuralMemory):
            module.operator = naive_neural_memory
