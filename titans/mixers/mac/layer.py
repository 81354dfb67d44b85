"""Memory as context: attention over what the memory recalls and the segment at hand (V1 section 4.1)."""

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
    """What memory as context carries from token to token.

    Attributes:
        memory: The stream that is written to; its chunks begin with the segment.
        before: The memory that the segment started with, which its recall comes from.
        recalled, tokens: Keys and values of the segment's recall and tokens so far.
        tail: Of the convolution over the queries of the recall.
    """

    memory: MemoryStream
    before: State
    recalled: KeyValues
    tokens: KeyValues
    tail: Tensor | None


class MemoryAsContext(Mixer):
    """Segment by segment: recall with the state that the last segment left, attend, write what attention made of it.

    A causal reading of V1 eqs. 21 to 25 that keeps their order. The recall h_j stands at the rotary place of x_j and is
    seen from token j on, so nothing of the future leaks through it; each output is read after its own write. Other
    readings are switches: see `MacConfig`.
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
        """Before the first token."""
        memory = self.memory.after(self.persistent, batch)[1] if self.written else self.memory.start(batch)
        return self._segment(memory, None)

    def forward(self, x: Tensor, stream: ContextStream) -> tuple[Tensor, ContextStream]:
        """The next tokens `[batch, time, dim]`."""
        q, tail = self.memory.q(x, stream.tail)
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
        empty = self.attention.start(memory.k.shape[0])
        return ContextStream(memory, memory.state, empty, empty, tail)

    def _advance(
        self, x: Tensor, q: Tensor, prefix: tuple[Tensor, Tensor], stream: ContextStream
    ) -> tuple[Tensor, ContextStream]:
        """The next tokens of one segment, with the queries of their recall."""
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
                learned = self.memory.read(self.memory.q(y, stream.memory.tails.q)[0], y, state)
        return self.product(y, learned), stream._replace(memory=memory, recalled=recalled, tokens=tokens)

    def _attend(
        self, x: Tensor, recall: Tensor, prefix: tuple[Tensor, Tensor], stream: ContextStream
    ) -> tuple[Tensor, KeyValues, KeyValues]:
        """Attention of x over the prefix, the recall and the segment up to each token; and these with what is new."""
        attention, place, time = self.attention, stream.tokens.position, x.shape[1]
        of_recall, of_tokens = {"shared": (0, 0), "phs": (0, self.segment), "psh": (self.segment, 0)}[
            self.config.positions
        ]
        recalled = stream.recalled.extend(rotate(attention.keys(recall), of_recall + place), attention.values(recall))
        tokens = stream.tokens.extend(rotate(attention.keys(x), of_tokens + place), attention.values(x))
        q = attention.queries(x) * (x.shape[-1] // attention.heads) ** -0.5
        rotated = rotate(q, of_tokens + place)
        mask = causal_mask(time, place + time, place + time, x.device).to(x.dtype)
        seen_by_all = [prefix, *self._long_term(stream.before)]
        scores = [q @ k.mT for k, _ in seen_by_all] + [rotated @ past.k.mT + mask for past in (recalled, tokens)]
        values = [v for _, v in seen_by_all] + [recalled.v, tokens.v]
        return attention.emit(attend(scores, values)), recalled, tokens

    def _long_term(self, before: State) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of what the long-term tokens read, if there are any."""
        if not self.long_term.shape[0]:
            return []
        asking = self.long_term.unsqueeze(0)
        read = self.memory.read(self.memory.q(asking)[0], asking, before)
        return [self.attention.prefix(read)]
