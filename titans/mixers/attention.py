"""Multi-head softmax attention with rotary positions: over all past tokens, or over a window and persistent tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.parts import CausalConvolution, Linear, merge_heads, rotate, split_heads
from titans.models.config import ModelConfig
from titans.ops.attention import attend, causal_mask, window_attention


class KeyValues(NamedTuple):
    """A cache of past tokens.

    Attributes:
        k: Rotated keys `[batch, heads, tokens, head_dim]`.
        v: Values `[batch, heads, tokens, head_dim]`.
        position: Position of the next token.
        tails: Tails of the short convolutions on q, k and v. None at the start and without convolution.
    """

    k: Tensor
    v: Tensor
    position: int
    tails: tuple[Tensor | None, ...] = (None, None, None)

    def extend(self, k: Tensor, v: Tensor) -> KeyValues:
        """Return the cache with the keys and values of the next tokens, each `[batch, heads, time, head_dim]`."""
        k, v = torch.cat((self.k, k), 2), torch.cat((self.v, v), 2)
        return self._replace(k=k, v=v, position=self.position + v.shape[2] - self.v.shape[2])

    def last(self, count: int) -> KeyValues:
        """Return the cache with its last `count` tokens at most."""
        begin = max(0, self.k.shape[2] - count)
        return self._replace(k=self.k[:, :, begin:], v=self.v[:, :, begin:])


class Attention(nn.Module):
    """The projections of multi-head attention. Callers choose which tokens see which, by `full` or `window`.

    With `attention_conv_size` above 1, a causal depthwise convolution over the tokens follows the projections to q, k
    and v, as in the NeurIPS 2025 camera-ready of the Titans paper. Positions come after the convolution.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.n_heads
        self.q, self.k, self.v, self.out = (Linear(config.dim, config.dim, bias=False) for _ in range(4))
        taps = config.attention_conv_size
        self.convolutions = nn.ModuleDict({name: CausalConvolution(config.dim, taps) for name in "qkv" if taps > 1})

    def start(self, batch: int) -> KeyValues:
        """Return an empty cache for `batch` sequences."""
        empty = self.q.weight.new_zeros(batch, self.heads, 0, self.q.out_features // self.heads)
        return KeyValues(empty, empty, 0)

    def queries(self, x: Tensor, past: KeyValues) -> tuple[Tensor, KeyValues]:
        """Return the queries of the next tokens, and the cache with the tail of their convolution.

        Args:
            x: The next tokens, `[batch, time, dim]`.
            past: The cache after the tokens so far.

        Returns:
            The queries `[batch, heads, time, head_dim]`, without positions, and the cache.
        """
        q, tail = self._project("q", x, past.tails[0])
        return q, past._replace(tails=(tail, *past.tails[1:]))

    def keys_values(self, x: Tensor, past: KeyValues) -> tuple[Tensor, Tensor, KeyValues]:
        """Return the keys and the values of the next tokens, `[batch, heads, time, head_dim]`, as `queries` does.

        The cache has the tails of their convolutions; `KeyValues.extend` adds keys and values to it.
        """
        (k, k_tail), (v, v_tail) = self._project("k", x, past.tails[1]), self._project("v", x, past.tails[2])
        return k, v, past._replace(tails=(past.tails[0], k_tail, v_tail))

    def _project(self, name: str, x: Tensor, tail: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return q, k or v of tokens `[batch, time, dim]` as `[batch, heads, time, head_dim]`, and the new tail."""
        x = self.get_submodule(name)(x)
        if self.convolutions:
            x, tail = self.convolutions[name](x, tail)
        return split_heads(x, self.heads), tail

    def emit(self, y: Tensor) -> Tensor:
        """Merge the heads of `[batch, heads, time, head_dim]` and project to `[batch, time, dim]`."""
        return self.out(merge_heads(y))

    def prefix(self, persistent: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of persistent tokens `[1, tokens, dim]`: a sequence of its own, without positions."""
        empty = self.start(1)
        k, v, _ = self.keys_values(persistent, empty) if persistent.shape[1] else empty[:3]
        return k, v

    def full(self, x: Tensor, past: KeyValues) -> tuple[Tensor, KeyValues]:
        """Let each of the next tokens `[batch, time, dim]` attend to all tokens up to itself."""
        position = past.position
        q, past = self.queries(x, past)
        k, v, past = self.keys_values(x, past)
        q, past = rotate(q, position), past.extend(rotate(k, position), v)
        if position == 0:
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
        q, past = self.queries(x, past)
        k, v, past = self.keys_values(x, past)
        k, prefix = rotate(k, past.position), self.prefix(persistent)
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
