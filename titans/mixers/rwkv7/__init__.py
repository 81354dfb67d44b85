"""RWKV-7 (arXiv 2503.14456): a delta rule whose removed key, added key, rate and decay are the token's, by channel."""

from __future__ import annotations

from titans.mixers.recurrence_cost import SIZES, Sizes, delta_rule, padded, scored, sizes, through, whole_chunk
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig

PUBLISHED = {"expand_k": 1.0, "expand_v": 1.0}
FASTEST = -0.6065306597126334  # the lowest log-decay: -exp(-1/2)
SHIFTED = 6  # inputs that mix a token with the one before it: of r, k, v, decay, rate and gate


def rank(dim: int, factor: float) -> int:
    """Return the rank of a matrix of low rank: `factor` times the root of dim, in steps of 32."""
    return max(32, round(factor * dim**0.5 / 32) * 32)


def ranks(s: Sizes) -> tuple[int, int, int]:
    """Return the ranks of decay, rate and gate. Heads wider than 64 have larger ones."""
    wide = s.d_k / 64
    return rank(s.dim, 2.5 * wide), rank(s.dim, 2.5 * wide), rank(s.dim, 5.0)


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s = sizes(config, PUBLISHED)
    of_decay, of_rate, of_gate = ranks(s)
    low = sum(through(s.dim, rank, s.keys) for rank in (of_decay, of_rate)) + through(s.dim, of_gate, s.values)
    return 2 * s.dim * (s.keys + s.values) + low


def _parameters(config: ModelConfig) -> int:
    """Return the parameters: matrices, shifts, biases of decay and rate, two gains of k, bonus, and norm."""
    s = sizes(config, PUBLISHED)
    return _matrices(config) + SHIFTED * s.dim + 5 * s.keys + 2 * s.values


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    """Return the multiply-adds of the matrices, the delta rule, and the writes that erase nothing."""
    s = sizes(config, PUBLISHED)
    size = whole_chunk(s, length, channels=True)
    rows = padded(length, size)
    added = 2 * scored(rows, size, s.d_k, channels=True) + rows * (2 * size * s.d_v + s.d_k * s.d_v)
    return batch * (length * _matrices(config) + delta_rule(s, length, channels=True) + s.heads * added)


def _state_size(config: ModelConfig, length: int) -> int:
    s = sizes(config, PUBLISHED)
    return s.heads * s.d_k * s.d_v + s.dim


MIXER = MixerSpec(
    name="rwkv7",
    family="linear recurrence",
    summary="a delta rule with a decay, a rate and a removed key from the token for each channel, after a token shift",
    source="RWKV-7 (arXiv 2503.14456)",
    layer="titans.mixers.rwkv7.layer:RWKV7",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES,
    published=PUBLISHED,
    parameters=_parameters,
    multiply_adds=_multiply_adds,
    state_size=_state_size,
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=7.005562,
)
