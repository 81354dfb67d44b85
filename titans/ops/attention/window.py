"""Sliding-window attention in blocks as long as the window: a block of queries attends to two blocks of keys."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(scores: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """Attend to several groups of keys under one softmax.

    Args:
        scores: For each group, `[..., queries, keys]`.
        values: For each group, `[..., keys, dim]`.

    Returns:
        `[..., queries, dim]`.
    """
    weights = torch.softmax(torch.cat(list(scores), -1), -1).split([s.shape[-1] for s in scores], -1)
    first, *rest = (w @ v for w, v in zip(weights, values, strict=True))
    return sum(rest, first)


def causal_mask(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    """Return `[queries, keys]`: 0 where a query sees a key, -inf elsewhere.

    The last key and the last query have the same position.
    """
    distance = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)
    return torch.zeros(queries, keys, device=device).masked_fill((distance < 0) | (distance >= window), float("-inf"))


def window_attention(
    q: Tensor, k: Tensor, v: Tensor, window: int, prefix: tuple[Tensor, Tensor, Tensor] | None = None
) -> Tensor:
    """Let each token t attend to tokens t - window + 1 .. t, and to a prefix that every token sees.

    Args:
        q, k, v: `[batch, heads, time, dim]`, positions already in q and k.
        window: Tokens that a token sees, itself included; at least 1.
        prefix: The queries without positions `[batch, heads, time, dim]`, and the keys and values of the prefix
            `[1 or batch, heads, tokens, dim]`. Without positions, the prefix has no distance from a token.

    Returns:
        `[batch, heads, time, dim]`. Memory grows with time x window, not time x time.
    """
    batch, heads, time, dim = q.shape
    size = min(window, time)
    blocks = -(-time // size)

    def in_blocks(x: Tensor) -> Tensor:
        """Pad `[batch, heads, time, dim]` and split it into blocks `[batch, heads, blocks, size, dim]`."""
        return F.pad(x, (0, 0, 0, blocks * size - time)).view(batch, heads, blocks, size, dim)

    q_b = in_blocks(q * dim**-0.5)
    k_b, v_b = (torch.cat((F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1], x), 3) for x in (in_blocks(k), in_blocks(v)))
    mask = causal_mask(size, 2 * size, window, q.device).to(q.dtype).repeat(blocks, 1, 1)
    mask[0, :, :size] = float("-inf")  # the first block has no predecessor
    scores, values = [q_b @ k_b.mT + mask], [v_b]
    if prefix is not None:
        q_prefix, k_prefix, v_prefix = prefix
        scores.append(in_blocks(q_prefix * dim**-0.5) @ k_prefix.unsqueeze(2).mT)
        values.append(v_prefix.unsqueeze(2))
    return attend(scores, values).reshape(batch, heads, blocks * size, dim)[:, :, :time]
