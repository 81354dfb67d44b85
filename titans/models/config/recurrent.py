"""Configuration of recurrent mixers."""

from __future__ import annotations

from dataclasses import dataclass, field

from titans.models.config.checks import at_least, at_most


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes of recurrent mixers. Null is the size that a mixer was published with.

    Attributes:
        chunk_size: Tokens that are computed together. It changes the speed and no number.
        state_size: Numbers in the state of one channel (mamba, mamba2).
        expand_k: Width of the keys over `dim`, rounded so that heads have an even width.
        expand_v: Width of the values, or of the inner stream, over `dim`, rounded in the same way.
        conv_size: Taps of a causal depthwise convolution, with a SiLU, on q, k and v of the mixers that were published
            without one (linear_attention, retnet, gla). Null: no convolution. The other mixers read the model's
            `conv_size`.
    """

    chunk_size: int = field(default=64, metadata={"identity": False})
    state_size: int | None = None
    expand_k: float | None = None
    expand_v: float | None = None
    conv_size: int | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "chunk_size", "state_size", "conv_size")
        for name in ("expand_k", "expand_v"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"{name}: {value} is not above 0")
        at_most(self, 1_000_000, "expand_k", "expand_v")
