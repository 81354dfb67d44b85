"""Sizes of mixers whose state is a matrix a head, and what linear attention with decay and the delta rule cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from titans.models.config import ModelConfig

#: Fields of `model.recurrent` that a mixer reads, and the published values that null stands for.
Published: TypeAlias = Mapping[str, float]

SIZES = frozenset({"n_heads", "recurrent.chunk_size"})  # what all of them read


class Sizes(NamedTuple):
    """Widths of a mixer with queries, keys and values.

    Attributes:
        dim: Width of the residual stream.
        heads: Heads of queries, keys and values.
        keys, values: Widths of all heads together.
        conv_size: Taps of the short convolution on queries, keys and values; 1 is none.
        chunk_size: Tokens that are computed together.
    """

    dim: int
    heads: int
    keys: int
    values: int
    conv_size: int
    chunk_size: int

    @property
    def d_k(self) -> int:
        """Width of a head's keys."""
        return self.keys // self.heads

    @property
    def d_v(self) -> int:
        """Width of a head's values."""
        return self.values // self.heads

    @property
    def channels(self) -> int:
        """Width of queries, keys and values together."""
        return 2 * self.keys + self.values


def size(config: ModelConfig, published: Published, name: str) -> float:
    """Return a field of `model.recurrent`, or the published value that null stands for."""
    given: float | None = getattr(config.recurrent, name)
    return published[name] if given is None else given


def width(config: ModelConfig, published: Published, name: str, heads: int) -> int:
    """Return `dim` times an expansion, rounded so that every head has an even width."""
    return 2 * heads * max(1, round(config.dim * size(config, published, name) / (2 * heads)))


def sizes(config: ModelConfig, published: Published) -> Sizes:
    """Return the widths of a mixer with queries, keys and values, given or published.

    A mixer that was published without a convolution has `recurrent.conv_size`; the others have `conv_size`.
    """
    heads = config.n_heads
    keys, values = (width(config, published, name, heads) for name in ("expand_k", "expand_v"))
    conv_size = int(size(config, published, "conv_size")) if "conv_size" in published else config.conv_size
    return Sizes(config.dim, heads, keys, values, conv_size, config.recurrent.chunk_size)


def convolution(channels: int, conv_size: int) -> int:
    """Weights of a convolution, and multiply-adds a token."""
    return channels * conv_size if conv_size > 1 else 0


def projections(s: Sizes) -> int:
    """Parameters of q, k and v, and multiply-adds a token."""
    return s.dim * s.channels + convolution(s.channels, s.conv_size)


def readout(s: Sizes, gated: bool) -> int:
    """Multiply-adds a token of the gate and the output projection, and their parameters."""
    return (1 + gated) * s.dim * s.values


def matrix_state(s: Sizes, extra: int = 0) -> int:
    """The matrices of all heads, with so many more columns, and the tails of the convolutions."""
    return s.heads * s.d_k * (s.d_v + extra) + (s.conv_size - 1) * s.channels


def linear_attention(heads: int, d_k: int, d_v: int, length: int, chunk_size: int, key_heads: int | None = None) -> int:
    """Linear attention by chunks with a decay that the channels share: scores, reads inside and before, writes."""
    size = min(chunk_size, length)
    scores = (heads if key_heads is None else key_heads) * size * d_k
    return _rows(length, size) * (scores + heads * (size * d_v + 2 * d_k * d_v))


def channel_attention(s: Sizes, length: int) -> int:
    """With a decay for each channel: scores by doubling, of each pair of tokens below the diagonal."""
    size = 1 << (min(s.chunk_size, length) - 1).bit_length()
    rows, pairs = _rows(length, size), _rows(length, size) // size * (size * (size - 1) // 2)
    return s.heads * (pairs * s.d_k + rows * (size * s.d_v + 2 * s.d_k * s.d_v))


def delta_rule(s: Sizes, length: int) -> int:
    """Two products of keys and one of values in a chunk, three with a state, and a triangular system."""
    size = min(s.chunk_size, length)
    rows = _rows(length, size)
    system = rows // size * (size * (size - 1) // 2) * (s.d_k + s.d_v)
    return s.heads * (rows * (size * (2 * s.d_k + s.d_v) + 3 * s.d_k * s.d_v) + system)


def _rows(length: int, size: int) -> int:
    """Tokens with those that fill up the last chunk."""
    return -(-length // size) * size
