"""Sizes of mixers whose state is a matrix for each head, and the cost of linear attention and of the delta rule.

Counts of products are multiply-adds. The operators compute by chunks, so their counts depend on the chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from titans.models.config import ModelConfig

#: Fields of `model.recurrent` that a mixer reads, and the published values that null stands for.
Published: TypeAlias = Mapping[str, float]

#: What all of these mixers read, besides published sizes.
SIZES = frozenset({"n_heads", "recurrent.chunk_size"})


class Sizes(NamedTuple):
    """Widths of a mixer with queries, keys and values.

    Attributes:
        dim: Width of the residual stream.
        heads: Number of heads.
        keys, values: Widths of the keys and the values, all heads together.
        conv_size: Taps of the short convolution on queries, keys and values; 1 is no convolution.
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
        """Return the width of one head's keys."""
        return self.keys // self.heads

    @property
    def d_v(self) -> int:
        """Return the width of one head's values."""
        return self.values // self.heads

    @property
    def channels(self) -> int:
        """Return the width of queries, keys and values together."""
        return 2 * self.keys + self.values


def size(config: ModelConfig, published: Published, name: str) -> float:
    """Return a field of `model.recurrent`, or the published value where the field is null."""
    given: float | None = getattr(config.recurrent, name)
    return published[name] if given is None else given


def width(config: ModelConfig, published: Published, name: str, heads: int) -> int:
    """Return `dim` times an expansion, rounded so that every head has an even width."""
    return 2 * heads * max(1, round(config.dim * size(config, published, name) / (2 * heads)))


def sizes(config: ModelConfig, published: Published) -> Sizes:
    """Return the widths of a mixer with queries, keys and values.

    A mixer that was published without a convolution reads `recurrent.conv_size`, the others read `conv_size`.
    """
    heads = config.n_heads
    keys, values = (width(config, published, name, heads) for name in ("expand_k", "expand_v"))
    conv_size = int(size(config, published, "conv_size")) if "conv_size" in published else config.conv_size
    return Sizes(config.dim, heads, keys, values, conv_size, config.recurrent.chunk_size)


def convolution(channels: int, conv_size: int) -> int:
    """Return the weights of a short convolution, which are also its multiply-adds for one token."""
    return channels * conv_size if conv_size > 1 else 0


def projections(s: Sizes) -> int:
    """Return the parameters of q, k and v, which are also their multiply-adds for one token."""
    return s.dim * s.channels + convolution(s.channels, s.conv_size)


def through(inputs: int, rank: int, outputs: int) -> int:
    """Return the weights of two linear layers through `rank` channels, which are also their multiply-adds."""
    return rank * (inputs + outputs)


def readout(s: Sizes, gated: bool) -> int:
    """Return the parameters of gate and output projection, which are also their multiply-adds for one token."""
    return (1 + gated) * s.dim * s.values


def matrix_state(s: Sizes, extra: int = 0) -> int:
    """Return the numbers in a stream: the heads' matrices, `extra` columns wider, and the tails of convolutions."""
    return s.heads * s.d_k * (s.d_v + extra) + (s.conv_size - 1) * s.channels


def linear_attention(heads: int, d_k: int, d_v: int, length: int, chunk_size: int, key_heads: int | None = None) -> int:
    """Return the multiply-adds of linear attention whose decay is the same for all channels of a head.

    Args:
        heads: Heads of the values.
        d_k, d_v: Widths of one head's keys and values.
        length: Tokens of the sequence.
        chunk_size: Tokens of a chunk.
        key_heads: Heads of queries and keys; None: as many as of the values.
    """
    size = min(chunk_size, length)
    scores = (heads if key_heads is None else key_heads) * size * d_k
    return padded(length, size) * (scores + heads * (size * d_v + 2 * d_k * d_v))


def channel_attention(s: Sizes, length: int) -> int:
    """Return the multiply-adds of linear attention whose decay differs by channel."""
    size = whole_chunk(s, length, channels=True)
    rows = padded(length, size)
    return s.heads * (scored(rows, size, s.d_k, True) + rows * (size * s.d_v + 2 * s.d_k * s.d_v))


def delta_rule(s: Sizes, length: int, *, steps: int = 1, channels: bool = False) -> int:
    """Return the multiply-adds of a delta rule.

    A chunk has the scores of queries and of erased keys, one product of values, the products with the state, and a
    triangular system for keys and values.

    Args:
        s: Widths.
        length: Tokens of the sequence.
        steps: Steps of a token.
        channels: Whether each channel of the keys has a decay of its own.
    """
    size = whole_chunk(s, length, channels)
    rows = padded(length, size)
    scores = (steps + steps**2) * scored(rows, size, s.d_k, channels)
    products = rows * steps * (size * s.d_v + 2 * s.d_k * s.d_v) + rows * s.d_k * s.d_v
    written = steps * size
    system = rows // size * (written * (written - 1) // 2) * (s.d_k + s.d_v)
    return s.heads * (scores + products + system)


def whole_chunk(s: Sizes, length: int, channels: bool) -> int:
    """Return the tokens of a chunk. With decays per channel it is a power of 2."""
    size = min(s.chunk_size, length)
    return 1 << (size - 1).bit_length() if channels else size


def scored(rows: int, size: int, d_k: int, channels: bool) -> int:
    """Return the multiply-adds of the scores of one query for `rows` tokens in chunks of `size`.

    With decays per channel they are built by doubling blocks, and cost the pairs below the diagonal of a chunk.
    """
    return rows // size * (size * (size - 1) // 2 if channels else size**2) * d_k


def padded(length: int, size: int) -> int:
    """Return the tokens of a sequence whose last chunk is padded to its full size."""
    return -(-length // size) * size
