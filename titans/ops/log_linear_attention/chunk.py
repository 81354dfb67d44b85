"""Log-linear attention by chunks of a power of 2, which begin at multiples of their size.

Inside such a chunk, levels depend only on the positions in the chunk. So the chunk is one attention, whose mask is the
decay times the scale of the level. Before the chunk, whole levels are read: one for each bit that is set in its number.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.arguments import check_log_decay, check_streams, expect
from titans.ops.chunks import CHUNK, between, into_chunks, since_start, until_end
from titans.ops.fla import KernelName, uses_fla


def log_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scales: Tensor,
    log_decay: Tensor,
    state: Tensor | None = None,
    *,
    position: int = 0,
    chunk_size: int = CHUNK,
    kernel: KernelName = "auto",
) -> tuple[Tensor, Tensor]:
    """Run y_t = sum over levels of scale_t[l] (S^l_t)^T q_t, S^l_t the decayed sum of k v^T over the tokens of a level.

    A sequence can be cut anywhere: its parts, with state and position passed on, give the outputs of the whole. Queries
    are not scaled.

    Args:
        q, k: `[batch, heads, time, d_k]`. One head broadcasts to all heads of v.
        v: `[batch, heads, time, d_v]`.
        scales: The weight of each level, `[batch, heads, time, levels]`. The last level has all older tokens.
        log_decay: At most 0, `[batch, heads, time]`.
        state: The levels before the first token, as that token sees them, `[batch, heads, levels, d_k, d_v]`. None:
            zeros.
        position: Number of tokens before the first one.
        chunk_size: Tokens that are computed together; the next power of 2. It changes only the speed.
        kernel: "torch" or "auto", which is torch. "fla" warns and runs in torch.

    Returns:
        y `[batch, heads, time, d_v]`, and the state after the last token, as the next one sees it.

    Raises:
        ValueError: An argument does not fit; the message names it.
    """
    _check(q, k, v, scales, log_decay, state, position, chunk_size)
    uses_fla(kernel, v, k.shape[-1], lack="its kernel of flash-linear-attention has another state")
    time, levels = v.shape[2], scales.shape[-1]
    size = 1 << (min(chunk_size, time) - 1).bit_length()
    skipped = position % size  # tokens of the first chunk that an earlier call had
    aligned = (F.pad(x, (0, 0, skipped, 0)) for x in (q, k, v, scales, log_decay.unsqueeze(-1)))
    q, k, v, scales, g = (into_chunks(x, size) for x in aligned)
    y, left = _inside(q, k, scales, g) @ v, since_start(g)
    parts, outputs = {} if state is None else _occupied(state, position), []
    places = range(position - skipped, position + time, size)
    chunks = (x.unbind(2) for x in (y, q * left, k * until_end(g), v, scales, left[..., -1:, :]))
    for place, own, read, key, value, scale, decay in zip(places, *chunks, strict=True):
        first, after = max(position, place), min(position + time, place + size)
        outputs.append(own + _read(parts, read, scale, first, place))
        parts = {level: decay * part for level, part in parts.items()}
        parts = _joined(parts, level_of(first, after, levels))
        for level, begin, end in runs(first, after, levels):
            tokens = slice(begin - place, end - place)
            written = key[..., tokens, :].mT @ value[..., tokens, :]
            parts[level] = parts[level] + written if level in parts else written
    zeros = torch.zeros_like(v[:, :, 0, :1]).expand(-1, -1, k.shape[-1], -1)
    end_state = torch.stack([parts.get(level, zeros) for level in range(levels)], 2)
    return torch.cat(outputs, 2)[:, :, skipped : skipped + time], end_state


def level_of(token: int, other: int, levels: int) -> int:
    """Return the level of one token at another one: the bits of token XOR other, or the last level."""
    return min((token ^ other).bit_length(), levels - 1)


def runs(first: int, after: int, levels: int) -> Iterator[tuple[int, int, int]]:
    """Yield the level at the token `after` of each run of the tokens from `first` on, with its begin and its end."""
    end = after
    while end > first:
        begin = max(first, end & (end - 1))
        yield level_of(begin, after, levels), begin, end
        end = begin


def _occupied(state: Tensor, position: int) -> dict[int, Tensor]:
    """Return the levels of a state `[batch, heads, levels, d_k, d_v]` that have tokens: the bits set in position."""
    levels = state.shape[2]
    found = {min(bit + 1, levels - 1) for bit in range(position.bit_length()) if position >> bit & 1}
    return {level: state[:, :, level] for level in sorted(found)}


def _joined(parts: dict[int, Tensor], level: int) -> dict[int, Tensor]:
    """Return the parts, each `[batch, heads, d_k, d_v]`, with those up to a level as one part of that level."""
    lower = [part for key, part in parts.items() if key <= level]
    higher = {key: part for key, part in parts.items() if key > level}
    return higher | ({level: torch.stack(lower).sum(0)} if lower else {})


def _levels(tokens: Tensor, other: Tensor, levels: int) -> Tensor:
    """Return `level_of` for tensors of tokens `[...]`."""
    return torch.frexp((tokens ^ other).double()).exponent.long().clamp(max=levels - 1)


def _inside(q: Tensor, k: Tensor, scales: Tensor, log_decay: Tensor) -> Tensor:
    """Return the scores of a chunk's own tokens, `[..., size, size]`, for q and k `[..., size, d_k]`."""
    places = torch.arange(q.shape[-2], device=q.device)
    table = _levels(places[:, None], places, scales.shape[-1])
    weights = scales.gather(-1, table.expand(*scales.shape[:-1], -1))
    return (q @ k.mT) * between(log_decay.squeeze(-1)) * weights


def _read(parts: dict[int, Tensor], read: Tensor, scales: Tensor, first: int, place: int) -> Tensor | float:
    """Return the reads of a chunk's tokens from the levels before it, `[batch, heads, size, d_v]`.

    A level at `first` is at least that level at a later token, and above all levels at which that token sees `first`.

    Args:
        parts: The levels as the token `first` sees them, `[batch, heads, d_k, d_v]`.
        read: Queries times the decay since the chunk's start, `[..., size, d_k]`.
        scales: `[..., size, levels]`.
        first: The first token that the chunk has in this call.
        place: The position in its chunk of the token in the first row.
    """
    tokens = torch.arange(place, place + read.shape[-2], device=read.device)
    lowest = _levels(tokens, torch.tensor(first, device=read.device), scales.shape[-1]).unsqueeze(-1)
    return sum(
        scales.gather(-1, lowest.clamp(min=level).expand(*scales.shape[:-1], -1)) * (read @ part)
        for level, part in parts.items()
    )


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scales: Tensor,
    log_decay: Tensor,
    state: Tensor | None,
    position: int,
    chunk_size: int,
) -> None:
    """Raise a `ValueError` unless all fit v `[batch, heads, time, d_v]`."""
    check_streams(q, k, v, None)
    check_log_decay(log_decay, v)
    levels = scales.shape[-1]
    expect("scales", scales, v, *v.shape[:3], levels)
    if levels < 2:
        raise ValueError("scales: has less than 2 levels: one for the token itself, and one for older tokens")
    if state is not None:
        expect("state", state, v, *v.shape[:2], levels, k.shape[-1], v.shape[-1])
    if position < 0:
        raise ValueError(f"position: {position} is below 0")
    if chunk_size < 1:
        raise ValueError(f"chunk_size: {chunk_size} is below 1")
