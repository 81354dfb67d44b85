"""Softmax attention with rotary positions: full, or over a sliding window behind persistent tokens."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from titans.layers.parts import merge_heads, rotate, split_heads
from titans.models.config import ModelConfig
from titans.ops.attention import attend, causal_mask, window_attention


class Attention(nn.Module):
    """Projections and output projection of multi-head attention; what a token sees is the caller's choice of method."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q, self.k, self.v, self.out = (nn.Linear(config.dim, config.dim, bias=False) for _ in range(4))

    def _heads(self, linear: nn.Linear, x: Tensor) -> Tensor:
        return split_heads(linear(x), self.heads)

    def full(self, x: Tensor) -> Tensor:
        """Every token sees all tokens up to itself."""
        q, k, v = (self._heads(linear, x) for linear in (self.q, self.k, self.v))
        return self.out(merge_heads(F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)))

    def prefix(self, persistent: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, without positions, of the persistent tokens `[1, tokens, dim]`."""
        return self._heads(self.k, persistent), self._heads(self.v, persistent)

    def window(self, x: Tensor, persistent: Tensor, window: int) -> Tensor:
        """Every token sees `persistent` `[1, tokens, dim]` and the last `window` tokens, itself included."""
        q, k, v = (self._heads(linear, x) for linear in (self.q, self.k, self.v))
        return self.out(merge_heads(window_attention(rotate(q), rotate(k), v, window, (q, *self.prefix(persistent)))))

    def context(self, x: Tensor, recalled: Tensor, prefix: tuple[Tensor, Tensor]) -> Tensor:
        """A segment of MAC: token i sees the prefix, and recalled[j] and x[j] for j <= i; only x asks."""
        time, head = x.shape[1], x.shape[-1] // self.heads
        q = self._heads(self.q, x) * head**-0.5
        q_rotated = rotate(q)
        mask = causal_mask(time, time, time, x.device).to(x.dtype)
        scores = [q @ prefix[0].mT]
        scores += [q_rotated @ rotate(self._heads(self.k, keys)).mT + mask for keys in (recalled, x)]
        return self.out(merge_heads(attend(scores, [prefix[1], *(self._heads(self.v, y) for y in (recalled, x))])))


class FullAttention(nn.Module):
    """The mixer of Transformer++."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = Attention(config)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, time, dim]` to the same."""
        return self.attention.full(x)
