"""The layer of memory as context (MAC; Titans, section 4.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from titans.mixers.attention import Attention, KeyValues
from titans.mixers.lmm import writes_persistent
from titans.mixers.lmm.layer import MemoryStream, NeuralMemory
from titans.mixers.mac import WRITES_PERSISTENT, MacConfig
from titans.mixers.mixer import Mixer
from titans.mixers.parts import Product, RMSNorm, rotate
from titans.models.config import ModelConfig
from titans.ops.attention import attend, causal_mask
from titans.ops.neural_memory.state import State


class ContextStream(NamedTuple):
    """The state of memory as context between two tokens.

    Attributes:
        memory: State of the memory. A segment starts a chunk.
        before: The memory at the start of the segment, from which the segment's tokens recall.
        recalled, tokens: Keys and values of what the segment's tokens recalled, and of the tokens themselves.
        tail: Tail of the convolution over the queries of the recall.
    """

    memory: MemoryStream
    before: State
    recalled: KeyValues
    tokens: KeyValues
    tail: Tensor | None


class MemoryAsContext(Mixer):
    """Segment by segment: recall from the memory that the last segment left, attend, write the attention's output.

    This is a causal reading of equations 21 to 25 of the arXiv v1, in their order. What token j recalls, h_j, has the
    rotary position of x_j and is seen from token j on, so nothing of the future leaks through h. Each output is read
    after its own write. `MacConfig` has the other readings.

    A convolution on attention's q, k and v starts anew in every segment, and runs over the persistent tokens, the
    recall and the segment each by itself. For the NeurIPS 2025 camera-ready, attention sees one segment: what comes
    from earlier ones has to come through the memory. One convolution over the concatenation would leak the future,
    because the recall of a segment's last tokens would reach its first ones.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, self.segment = config.settings_of(MacConfig), config.segment_len
        self.written = writes_persistent(config, WRITES_PERSISTENT)
        self.init_std = {"persistent": 1.0, "long_term": 1.0}
        self.persistent = nn.Parameter(torch.empty(config.persistent_tokens, config.dim))
        self.long_term = nn.Parameter(torch.empty(self.config.long_term_tokens, config.dim))
        self.attention = Attention(config)
        self.memory = NeuralMemory(config)
        self.norm = RMSNorm(config.dim)
        self.product = Product(config)

    def start(self, batch: int) -> ContextStream:
        """Return the state of `batch` sequences before their first token."""
        memory = self.memory.after(self.persistent, batch)[1] if self.written else self.memory.start(batch)
        return self._segment(memory, None)

    def forward(self, x: Tensor, stream: ContextStream) -> tuple[Tensor, ContextStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        q, tail = self.memory.query(x, stream.tail)
        stream, outputs, begin = stream._replace(tail=tail), [], 0
        prefix = self.attention.prefix(self.persistent.unsqueeze(0))
        while begin < x.shape[1]:
            end = begin + min(self.segment - stream.tokens.position, x.shape[1] - begin)
            y, stream = self._advance(x[:, begin:end], q[:, :, begin:end], prefix, stream)
            outputs.append(y)
            begin = end
            if stream.tokens.position == self.segment:
                memory = self.start(x.shape[0]).memory if self.config.reset else stream.memory
                stream = self._segment(memory._replace(tails=stream.memory.tails), tail)
        return torch.cat(outputs, 1), stream

    def _segment(self, memory: MemoryStream, tail: Tensor | None) -> ContextStream:
        """Return the state at the start of a segment."""
        empty = self.attention.start(memory.k.shape[0])
        return ContextStream(memory, memory.state, empty, empty, tail)

    def _advance(
        self, x: Tensor, q: Tensor, prefix: tuple[Tensor, Tensor], stream: ContextStream
    ) -> tuple[Tensor, ContextStream]:
        """Mix the next tokens of one segment; q are the queries of their recall."""
        if self.config.order == "write_first":
            learned, memory = self.memory(x, stream.memory)
            y, recalled, tokens = self._attend(x, learned, prefix, stream)
            y = self.norm(y)
        else:
            y, recalled, tokens = self._attend(x, self.memory.read(q, x, stream.before), prefix, stream)
            y = self.norm(y)
            learned, memory = self.memory(y if self.config.write == "output" else x, stream.memory, asking=y)
            if self.config.read != "own":
                state = stream.before if self.config.read == "start" else self.memory.settled(memory)
                learned = self.memory.read(self.memory.query(y, stream.memory.tails.q)[0], y, state)
        return self.product(y, learned), stream._replace(memory=memory, recalled=recalled, tokens=tokens)

    def _attend(
        self, x: Tensor, recall: Tensor, prefix: tuple[Tensor, Tensor], stream: ContextStream
    ) -> tuple[Tensor, KeyValues, KeyValues]:
        """Attend to the prefix, the recall and the segment up to each token.

        Returns:
            The attention's output, and the keys and values of the recall and of the segment, with those of x.
        """
        attention, place, time = self.attention, stream.tokens.position, x.shape[1]
        first = {"shared": (0, 0), "phs": (0, self.segment), "psh": (self.segment, 0)}  # positions of h_0 and x_0
        of_recall, of_tokens = first[self.config.positions]
        q, tokens = attention.queries(x, stream.tokens)
        k, v, tokens = attention.keys_values(x, tokens)
        tokens = tokens.extend(rotate(k, of_tokens + place), v)
        k, v, recalled = attention.keys_values(recall, stream.recalled)
        recalled = recalled.extend(rotate(k, of_recall + place), v)
        q = q * q.shape[-1] ** -0.5
        rotated = rotate(q, of_tokens + place)
        mask = causal_mask(time, place + time, place + time, x.device).to(x.dtype)
        seen_by_all = [prefix, *self._long_term(stream.before)]
        scores = [q @ k.mT for k, _ in seen_by_all] + [rotated @ past.k.mT + mask for past in (recalled, tokens)]
        values = [v for _, v in seen_by_all] + [recalled.v, tokens.v]
        return attention.emit(attend(scores, values)), recalled, tokens

    def _long_term(self, before: State) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values of what the long-term tokens read, if there are any."""
        if not self.long_term.shape[0]:
            return []
        asking = self.long_term.unsqueeze(0)
        read = self.memory.read(self.memory.query(asking)[0], asking, before)
        return [self.attention.prefix(read)]
