"""Multi-head softmax attention with rotary positions: over all past tokens, or over a window and persistent tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.parts import Linear, merge_heads, rotate, split_heads
from titans.models.config import ModelConfig
from titans.ops.attention import attend, causal_mask, window_attention


class KeyValues(NamedTuple):
    """A cache of past tokens.

    Attributes:
        k: Rotated keys `[batch, heads, tokens, head_dim]`.
        v: Values `[batch, heads, tokens, head_dim]`.
        position: Position of the next token.
    """

    k: Tensor
    v: Tensor
    position: int

    def extend(self, k: Tensor, v: Tensor) -> KeyValues:
        """Return the cache with the keys and values of the next tokens, each `[batch, heads, time, head_dim]`."""
        return KeyValues(torch.cat((self.k, k), 2), torch.cat((self.v, v), 2), self.position + k.shape[2])

    def last(self, count: int) -> KeyValues:
        """Return the cache with its last `count` tokens at most."""
        begin = max(0, self.k.shape[2] - count)
        return self._replace(k=self.k[:, :, begin:], v=self.v[:, :, begin:])


class Attention(nn.Module):
    """The projections of multi-head attention. Callers choose which tokens see which, by `full` or `window`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.n_heads
        self.q, self.k, self.v, self.out = (Linear(config.dim, config.dim, bias=False) for _ in range(4))

    def start(self, batch: int) -> KeyValues:
        """Return an empty cache for `batch` sequences."""
        empty = self.q.weight.new_zeros(batch, self.heads, 0, self.q.out_features // self.heads)
        return KeyValues(empty, empty, 0)

    def keys(self, x: Tensor) -> Tensor:
        """Return the keys of tokens `[batch, time, dim]`, without positions, as `[batch, heads, time, head_dim]`."""
        return split_heads(self.k(x), self.heads)

    def values(self, x: Tensor) -> Tensor:
        """Return the values of tokens `[batch, time, dim]` as `[batch, heads, time, head_dim]`."""
        return split_heads(self.v(x), self.heads)

    def queries(self, x: Tensor) -> Tensor:
        """Return the queries of tokens `[batch, time, dim]`, without positions, as `[batch, heads, time, head_dim]`."""
        return split_heads(self.q(x), self.heads)

    def emit(self, y: Tensor) -> Tensor:
        """Merge the heads of `[batch, heads, time, head_dim]` and project to `[batch, time, dim]`."""
        return self.out(merge_heads(y))

    def prefix(self, persistent: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of persistent tokens `[1, tokens, dim]`, which have no positions."""
        return self.keys(persistent), self.values(persistent)

    def full(self, x: Tensor, past: KeyValues) -> tuple[Tensor, KeyValues]:
        """Let each of the next tokens `[batch, time, dim]` attend to all tokens up to itself."""
        q = rotate(self.queries(x), past.position)
        first = past.position == 0
        past = past.extend(rotate(self.keys(x), past.position), self.values(x))
        if first:
            return self.emit(F.scaled_dot_product_attention(q, past.k, past.v, is_causal=True)), past
        mask = causal_mask(q.shape[2], past.k.shape[2], past.k.shape[2], x.device).to(x.dtype)
        return self.emit(F.scaled_dot_product_attention(q, past.k, past.v, mask)), past

    def window(self, x: Tensor, persistent: Tensor, window: int, past: KeyValues) -> tuple[Tensor, KeyValues]:
        """Let each of the next tokens attend to persistent tokens and to the last `window` tokens, itself included.

        Args:
            x: The next tokens, `[batch, time, dim]`.
            persistent: Tokens that all see, `[1, tokens, dim]`.
            window: Length of the window.
            past: The cache after the tokens so far. It keeps `window - 1` of them.

        Returns:
            The outputs `[batch, time, dim]` and the cache.
        """
        q, k, v, prefix = self.queries(x), rotate(self.keys(x), past.position), self.values(x), self.prefix(persistent)
        if past.position == 0:
            y = window_attention(rotate(q), k, v, window, (q, *prefix))
            return self.emit(y), past.extend(k, v).last(window - 1)
        outputs = []
        for q_p, k_p, v_p in zip(q.split(window, 2), k.split(window, 2), v.split(window, 2), strict=True):
            seen = past.extend(k_p, v_p)
            q_p = q_p * q_p.shape[-1] ** -0.5
            mask = causal_mask(q_p.shape[2], seen.k.shape[2], window, x.device).to(x.dtype)
            scores = [q_p @ prefix[0].mT, rotate(q_p, past.position) @ seen.k.mT + mask]
            outputs.append(attend(scores, [prefix[1], seen.v]))
            past = seen.last(window - 1)
        return self.emit(torch.cat(outputs, 2)), past
