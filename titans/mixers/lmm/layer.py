"""The layer of the long-term memory: projections, the gates of `gates.py`, and the operator `neural_memory`.

`NeuralMemory` is the memory, which mac, mag, mal and ttt build on. `LongTermMemory` is the memory alone as a mixer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.lmm import widths
from titans.mixers.lmm.gates import MemoryGates
from titans.mixers.mixer import Mixer
from titans.mixers.parts import HasPlainForm, Linear, PolynomialFeatures, Projection, RMSNorm, merge_heads, split_heads
from titans.models.config import ModelConfig
from titans.ops import MemoryState, naive_neural_memory, neural_memory, read_memory
from titans.ops.neural_memory.state import State
from titans.ops.pointwise import plain_silu_gate, silu_gate

Operator = Callable[..., tuple[Tensor, State]]  # takes the arguments of `neural_memory`


class Tails(NamedTuple):
    """Tails of the short convolutions on q, k and v. None before the first token and without convolution."""

    q: Tensor | None = None
    k: Tensor | None = None
    v: Tensor | None = None


NO_TAILS = Tails()


class MemoryStream(NamedTuple):
    """The state of the memory between two tokens. Its size is constant.

    Attributes:
        state: Weights and momentum after all tokens so far, except the waiting ones.
        opening: The state at the start of the current chunk, without momentum; None where the next token starts a
            chunk.
        place: Tokens of the current chunk that are in the state.
        first: Logits of the gates of the chunk's first token, `[batch, 1, gates]`; None like `opening`.
        k, v: Keys and values of the tokens that wait for the last of their group of `update_every`,
            `[batch, heads, tokens, head_dim]`.
        logits: Logits of the gates of these tokens, `[batch, tokens, gates]`.
        tails: Tails of the convolutions.
        spent: Steps of the current chunk's tokens that are in the state, `[batch, heads, sets]`; None like `opening`,
            and without `theta_budget`.
        recent: Keys, values and for the objective huber thresholds of the last `window` - 1 tokens that are in the
            state, `[batch, heads, window - 1, ...]`; zeros before the first token. None without a window.
    """

    state: State
    opening: State | None
    place: int
    first: Tensor | None
    k: Tensor
    v: Tensor
    logits: Tensor
    tails: Tails
    spent: Tensor | None = None
    recent: tuple[Tensor, ...] | None = None


class NeuralMemory(HasPlainForm, nn.Module):
    """The neural long-term memory over a stream of tokens.

    The arXiv v1 of the Titans paper describes it in section 3. The NeurIPS 2025 camera-ready adds the convolution, the
    norm and the gate before the output projection.

    Attributes:
        operator: The function that writes and reads: `neural_memory`, or another one with the same arguments.
        writes: Whether tokens are written: see `titans.mixers.mixer.HasWrites`.
    """

    writes = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        memory, dim, head = config.memory, config.dim, config.head_dim
        self.config, self.heads = memory, config.n_heads
        self.operator: Operator = neural_memory
        form = (dim, dim, config.n_heads, config.conv_size, config.qkv_activation == "silu")
        plain = memory.feature_degree == 1
        unit = config.qk_l2_norm and plain
        self.q, self.k, self.v = (Projection(*form, unit=unit and role != "v") for role in ("q", "k", "v"))
        features = (config.n_heads, memory.feature_degree, config.qk_l2_norm)
        self.features = nn.Identity() if plain else PolynomialFeatures(*features)
        shapes: list[tuple[int, ...]] = [(config.n_heads, *matrix) for matrix in widths(config)]
        if memory.gain != "none":
            shapes.append((config.n_heads, head))
        inputs = [shape[2] if len(shape) == 3 else 0 for shape in shapes]
        self.gates = MemoryGates(config, {layer: inputs[layer] for layer in memory.written_layers})
        learned = memory.initial == "learned"
        self.initial = nn.ParameterList(nn.Parameter(torch.zeros(s), requires_grad=learned) for s in shapes)
        std = 0.0 if memory.initial == "zero" else memory.initial_std
        matrices = {} if std is None else {str(layer): std for layer in range(memory.depth)}
        gain = {} if memory.gain == "none" else {str(memory.depth): 0.0}  # a gain g multiplies by 1 + g
        self.initial.init_std = matrices | gain  # type: ignore[assignment]
        self.norm = RMSNorm(head) if memory.read_norm else nn.Identity()
        gates = {"channel": dim, "head": self.heads, "none": 0}[memory.output_gate]
        self.gate = Linear(dim, gates, bias=False) if gates else None
        self.out = Linear(dim, dim, bias=False)

    def use_kernel(self, kernel: str) -> None:
        """Compute with a kernel of `neural_memory`. "fla" has no kernel for the memory and changes nothing."""
        super().use_kernel(kernel)
        if kernel != "fla":
            self.operator = partial(neural_memory, kernel=kernel)  # type: ignore[arg-type]

    @property
    def chunk_size(self) -> int:
        """Return the tokens in a chunk, in training or in evaluation."""
        return self.config.chunk_size if self.training else self.config.eval_chunk_size or self.config.chunk_size

    @property
    def written(self) -> tuple[int, ...] | None:
        """Return the layers that are written, as `neural_memory` takes them: None for all."""
        chosen = self.config.written_layers
        return None if len(chosen) == self.config.layers else chosen

    def start(self, batch: int) -> MemoryStream:
        """Return the initial weights for `batch` sequences, without momentum."""
        weights = tuple(w.expand(batch, *w.shape) for w in self.initial)
        return self.resume(MemoryState(weights, tuple(torch.zeros_like(w) for w in weights)))

    def resume(self, state: State, tails: Tails = NO_TAILS, recent: tuple[Tensor, ...] | None = None) -> MemoryStream:
        """Return a stream that starts a new chunk with this state; without `recent`, after no token.

        The weights of the state and each of `recent` are `[batch, ...]`.
        """
        some = state.weights[0]
        none = some.new_zeros(some.shape[0], self.heads, 0, some.shape[-1])
        no_logits = some.new_zeros(some.shape[0], 0, len(self.gates.bias))
        return MemoryStream(state, None, 0, None, none, none, no_logits, tails, None, recent or self._no_tokens(some))

    def after(self, persistent: Tensor, batch: int) -> tuple[Tensor, MemoryStream]:
        """Write persistent tokens `[tokens, dim]` to the initial memory.

        The persistent tokens are the same for all sequences, so they are written once.

        Returns:
            What was read after each persistent token, `[1, tokens, dim]`, and the state for `batch` sequences. The
            next token starts a new chunk.
        """
        if not persistent.shape[0]:
            return persistent.unsqueeze(0), self.start(batch)
        x = persistent.unsqueeze(0)
        q, written, _ = self._project(x, x, Tails())
        start = self.start(1)
        y, state = self._operate(q, *written, start)
        recent = self._recent(*written, start)

        def for_all(part: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # [1, ...] to [batch, ...]
            return tuple(each.expand(batch, *each.shape[1:]) for each in part)

        resumed = self.resume(type(state)(*map(for_all, state)), recent=None if recent is None else for_all(recent))
        return self.emit(y, x), resumed

    def forward(self, x: Tensor, stream: MemoryStream, asking: Tensor | None = None) -> tuple[Tensor, MemoryStream]:
        """Write the next tokens and read the memory after each of them.

        Args:
            x: Tokens to write, `[batch, time, dim]`.
            stream: The state of the memory before them.
            asking: Tokens that the queries are made of, `[batch, time, dim]`; None: x.

        Returns:
            What was read, `[batch, time, dim]`, and the state after the tokens.
        """
        asking = x if asking is None else asking
        q, (k, v, logits), tails = self._project(x, asking, stream.tails)
        if not self.writes:
            return self.read(q, asking, stream.state), stream._replace(tails=tails)
        stream, outputs, begin = stream._replace(tails=tails), [], 0
        while begin < q.shape[2]:
            part = slice(begin, begin + self._together(q.shape[2] - begin, stream))
            y, stream = self._advance(q[:, :, part], k[:, :, part], v[:, :, part], logits[:, part], stream)
            outputs.append(y)
            begin = part.stop
        return self.emit(torch.cat(outputs, 2) if len(outputs) > 1 else outputs[0], asking), stream

    def settled(self, stream: MemoryStream) -> State:
        """Return the state after all tokens so far, the waiting ones included."""
        if not stream.k.shape[2]:
            return stream.state
        return self._operate(stream.k, stream.k, stream.v, stream.logits, stream)[1]

    def _together(self, left: int, stream: MemoryStream) -> int:
        """Return how many of the `left` tokens the next call of the operator takes."""
        size, every = self.chunk_size, self.config.update_every
        if stream.opening is not None:
            return min(left, size - stream.place - stream.k.shape[2])
        return left - left % size or left - left % every or left

    def _advance(
        self, q: Tensor, k: Tensor, v: Tensor, logits: Tensor, stream: MemoryStream
    ) -> tuple[Tensor, MemoryStream]:
        """Write and read whole chunks, or tokens of one chunk.

        Args:
            q, k, v: `[batch, heads, time, head_dim]`.
            logits: Logits of the gates, `[batch, time, gates]`.
            stream: The state of the memory before these tokens.

        Returns:
            What was read, like q, and the state after these tokens.
        """
        waiting = stream.k.shape[2]
        if waiting:  # of an incomplete group; written again together with the rest of the group
            k, v = torch.cat((stream.k, k), 2), torch.cat((stream.v, v), 2)
            q, logits = F.pad(q, (0, 0, waiting, 0)), torch.cat((stream.logits, logits), 1)
        time = k.shape[2]
        whole = time - time % self.config.update_every
        y, state = self._operate(q, k, v, logits, stream)
        if whole < time:
            state = self._begun(stream)
            if whole:
                state = self._operate(q[:, :, :whole], k[:, :, :whole], v[:, :, :whole], logits[:, :whole], stream)[1]
        recent = self._recent(k[:, :, :whole], v[:, :, :whole], logits[:, :whole], stream)
        place = stream.place + whole
        if place % self.chunk_size == 0 and whole == time:
            return y[:, :, waiting:], self.resume(state, stream.tails, recent)
        spent = self.gates.steps(logits[:, :whole])
        if spent is not None and stream.spent is not None:
            spent = spent + stream.spent
        if stream.opening is None:
            stream = stream._replace(opening=stream.state._replace(momentum=()), first=logits[:, :1])
        stream = stream._replace(state=state, place=place, spent=spent, recent=recent)
        return y[:, :, waiting:], stream._replace(k=k[:, :, whole:], v=v[:, :, whole:], logits=logits[:, whole:])

    def query(self, asking: Tensor, tail: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the queries `[batch, heads, time, head_dim]` of tokens `[batch, time, dim]`, and their tail."""
        q, tail = self.q(asking, tail)
        return self.features(q), tail

    def read(self, q: Tensor, x: Tensor, state: State) -> Tensor:
        """Read the memory without writing.

        Args:
            q: Queries `[batch, heads, time, head_dim]`.
            x: The tokens that the queries are made of, `[batch, time, dim]`, for the output gate.
            state: What to read.

        Returns:
            What was read, `[batch, time, dim]`.
        """
        c = self.config
        with torch.autocast(x.device.type, enabled=False):
            y = read_memory(state.weights, q.to(state.weights[0].dtype), c.activation, c.residual, c.gain != "none")
        return self.emit(y, x)

    def emit(self, y: Tensor, x: Tensor) -> Tensor:
        """Apply norm, gate and output projection.

        Args:
            y: What the heads read, `[batch, heads, time, head_dim]`.
            x: The tokens that asked, `[batch, time, dim]`.

        Returns:
            The layer's output `[batch, time, dim]`.
        """
        y = self.norm(y)
        if self.gate is None:
            return self.out(merge_heads(y))
        gate = self.gate(x)
        if self.config.output_gate == "head":
            return self.out(merge_heads(y * torch.sigmoid(split_heads(gate, self.heads))))
        return self.out((plain_silu_gate if self.plain else silu_gate)(gate, merge_heads(y)))

    def _project(self, x: Tensor, asking: Tensor, tails: Tails) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], Tails]:
        """Return q, then k, v and the gates' logits, then the convolutions' tails."""
        (q, q_tail), (k, k_tail), (v, v_tail) = self.query(asking, tails.q), self.k(x, tails.k), self.v(x, tails.v)
        k = self.features(k)
        dtype = self.initial[0].dtype  # under autocast too: the state is a sum of thousands of small writes
        return q.to(dtype), (k.to(dtype), v.to(dtype), self.gates.logits(x)), Tails(q_tail, k_tail, v_tail)

    def _no_tokens(self, like: Tensor) -> tuple[Tensor, ...] | None:
        """Return `MemoryStream.recent` before the first token, for weights `[batch, heads, ...]`; it has no effect."""
        if self.config.window == 1:
            return None
        none = like.new_zeros(*like.shape[:2], self.config.window - 1, like.shape[-1])
        return (none, none, like.new_ones(none.shape[:3])) if self.config.objective == "huber" else (none, none)

    def _recent(self, k: Tensor, v: Tensor, logits: Tensor, stream: MemoryStream) -> tuple[Tensor, ...] | None:
        """Return `MemoryStream.recent` after tokens `[batch, heads, time, head_dim]`, logits `[batch, time, gates]`."""
        if stream.recent is None:
            return None
        thresholds = self.gates.thresholds(logits)
        written = (k, v) if thresholds is None else (k, v, thresholds)
        pairs = zip(stream.recent, written, strict=True)
        return tuple(torch.cat((before, x), 2)[:, :, x.shape[2] :] for before, x in pairs)

    def _begun(self, stream: MemoryStream) -> State:
        """Return the state that the first tokens of a chunk are written to, or the further ones."""
        if stream.opening is not None or not self.config.reset_momentum:
            return stream.state
        return stream.state._replace(momentum=tuple(torch.zeros_like(m) for m in stream.state.momentum))

    def _operate(self, q: Tensor, k: Tensor, v: Tensor, logits: Tensor, stream: MemoryStream) -> tuple[Tensor, State]:
        """Call the operator on tokens that start a chunk or continue the stream's."""
        c = self.config
        with torch.autocast(q.device.type, enabled=False):
            theta, eta, alpha = self.gates(logits, self.chunk_size, stream.first, stream.spent)
            return self.operator(
                q, k, v, theta, eta, alpha, stream.state, self.chunk_size, c.activation, c.residual, c.loss,
                c.outer_gradient, update_every=c.update_every, read=c.read, reset_momentum=c.reset_momentum,
                ascent=c.ascent, written=self.written, gain=c.gain != "none", objective=c.objective,
                power=c.objective_power, threshold=self.gates.thresholds(logits), window=c.window,
                gamma=self.gates.gamma(logits), recent=stream.recent, optimizer=c.inner_optimizer,
                opening=stream.opening,
            )  # fmt: skip


class LongTermMemory(Mixer):
    """The memory alone as a mixer (LMM; Titans, section 4.4). The persistent tokens are written first."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.init_std = {"persistent": 1.0}  # as large as the normalised tokens that follow them
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.memory = NeuralMemory(config)

    def start(self, batch: int) -> MemoryStream:
        """Return the state of `batch` sequences before their first token."""
        return self.memory.after(self.persistent, batch)[1]

    def forward(self, x: Tensor, stream: MemoryStream) -> tuple[Tensor, MemoryStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        return self.memory(x, stream)


def write_token_by_token(mixer: Mixer) -> None:
    """Make the memories in a mixer compute with the reference implementation: token by token, gradients by autograd."""
    for module in mixer.modules():
        if isinstance(module, NeuralMemory):
            module.operator = naive_neural_memory
