"""Softmax attention with rotary positions: full, or over a sliding window behind persistent tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.parts import merge_heads, rotate, split_heads
from titans.models.config import ModelConfig
from titans.ops.attention import attend, causal_mask, window_attention


class KeyValues(NamedTuple):
    """Keys, positions in them, and values of past tokens, `[batch, heads, tokens, head_dim]`; and the next position."""

    k: Tensor
    v: Tensor
    position: int

    def extend(self, k: Tensor, v: Tensor) -> KeyValues:
        """With the next tokens'."""
        return KeyValues(torch.cat((self.k, k), 2), torch.cat((self.v, v), 2), self.position + k.shape[2])

    def last(self, count: int) -> KeyValues:
        """No more than so many."""
        begin = max(0, self.k.shape[2] - count)
        return self._replace(k=self.k[:, :, begin:], v=self.v[:, :, begin:])


class Attention(nn.Module):
    """Projections and output projection of multi-head attention; what a token sees is the caller's choice of method."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.n_heads
        self.q, self.k, self.v, self.out = (nn.Linear(config.dim, config.dim, bias=False) for _ in range(4))

    def start(self, batch: int) -> KeyValues:
        """No tokens."""
        empty = self.q.weight.new_zeros(batch, self.heads, 0, self.q.out_features // self.heads)
        return KeyValues(empty, empty, 0)

    def keys(self, x: Tensor) -> Tensor:
        """Keys without positions."""
        return split_heads(self.k(x), self.heads)

    def values(self, x: Tensor) -> Tensor:
        """Values."""
        return split_heads(self.v(x), self.heads)

    def queries(self, x: Tensor) -> Tensor:
        """Queries without positions."""
        return split_heads(self.q(x), self.heads)

    def emit(self, y: Tensor) -> Tensor:
        """Merge the heads and project."""
        return self.out(merge_heads(y))

    def prefix(self, persistent: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, without positions, of the persistent tokens `[1, tokens, dim]`."""
        return self.keys(persistent), self.values(persistent)

    def full(self, x: Tensor, past: KeyValues) -> tuple[Tensor, KeyValues]:
        """Every token sees all tokens up to itself."""
        q = rotate(self.queries(x), past.position)
        first = past.position == 0
        past = past.extend(rotate(self.keys(x), past.position), self.values(x))
        if first:
            return self.emit(F.scaled_dot_product_attention(q, past.k, past.v, is_causal=True)), past
        mask = causal_mask(q.shape[2], past.k.shape[2], past.k.shape[2], x.device).to(x.dtype)
        return self.emit(F.scaled_dot_product_attention(q, past.k, past.v, mask)), past

    def window(self, x: Tensor, persistent: Tensor, window: int, past: KeyValues) -> tuple[Tensor, KeyValues]:
        """Every token sees `persistent` `[1, tokens, dim]` and the last `window` tokens, itself included."""
        q, k, v, prefix = self.queries(x), rotate(self.keys(x), past.position), self.values(x), self.prefix(persistent)
        if past.position == 0:
            y = window_attention(rotate(q), k, v, window, (q, *prefix))
            return self.emit(y), past.extend(k, v).last(window - 1)
        outputs = []
        for q_p, k_p, v_p in zip(q.split(window, 2), k.split(window, 2), v.split(window, 2), strict=True):
            seen = past.extend(k_p, v_p)
            outputs.append(_attend_to(q_p, past.position, prefix, seen, window))
            past = seen.last(window - 1)
        return self.emit(torch.cat(outputs, 2)), past


def _attend_to(q: Tensor, position: int, prefix: tuple[Tensor, Tensor], seen: KeyValues, window: int) -> Tensor:
    """Queries of the last tokens of `seen`."""
    q = q * q.shape[-1] ** -0.5
    mask = causal_mask(q.shape[2], seen.k.shape[2], window, q.device).to(q.dtype)
    return attend([q @ prefix[0].mT, rotate(q, position) @ seen.k.mT + mask], [prefix[1], seen.v])
