"""What the recurrent rivals of the memory are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from titans.models.config.checks import at_least, at_most


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes of recurrent mixers; null is what the mixer was published with: `PUBLISHED`.

    Attributes:
        chunk_size: Tokens of a sequence that are computed together: it changes the speed and no number.
        state_size: Numbers that a channel's state holds (Mamba, Mamba-2).
        expand_k: Width of the keys over `dim`; rounded, so that a head of them is even.
        expand_v: Width of the values, or of the inner stream, over `dim`; rounded in the same way.
        conv_size: Causal depthwise convolution and SiLU on q, k and v of those that were published without
            (linear_attention, retnet, gla), which null keeps so; for the others it is `conv_size` of the model.
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
