"""What a whole model is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from titans.mixers.registry import canonical_settings, mixer, pattern, settings_classes, variants
from titans.models.config.checks import at_least, at_most
from titans.models.config.keys import reads
from titans.models.config.memory import MemoryConfig
from titans.models.config.recurrent import RecurrentConfig

MOST_BLOCKS = 10_000  # costs are counted block by block
WIDEST = 1_000_000  # hidden over residual width
Combination = Literal["norm_sigmoid", "sigmoid", "product"]
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class ModelConfig:
    """A model of Llama-style blocks as N25 has them, by default one of language, over bytes.

    Attributes:
        variant: The sequence mixers of the blocks: the memory alone (lmm), as context (mac), gate (mag) or layer (mal),
            or one of its rivals: docs/models.md has a table.
        vocab_size: Distinct tokens; 256 for bytes.
        dim: Width of the residual stream.
        n_layers: Mixer and feed-forward pairs.
        n_heads: Heads of attention, of the memory and of rivals that have any; divides `dim` into an even width.
        mlp_ratio: Hidden width of the SwiGLU over `dim`.
        persistent_tokens: Learned tokens before every sequence (task knowledge). N25: 128.
        segment_len: Tokens that MAC attends over at a time, a multiple of the memory's chunk. N25: 512.
        window: Tokens that sliding-window attention sees, the own one included. N25: 2048.
        conv_size: Causal depthwise convolution on q, k and v, or a rival's inner stream; 1 is none. N25: 4.
        memory: The long-term memory.
        persistent_written: The persistent tokens are written to the memory too: yes for lmm, mag and mal by V1's
            formulas, whose sequence begins with them, no for mac. Null: so.
        combine: The product of attention and memory in mac and mag: both normalised with a learned scale and the second
            through a sigmoid ("norm_sigmoid", V1 section 4.2), the second through a "sigmoid", or the raw "product".
        qkv_activation: Of the memory's q, k and v: "silu" (N25) or "none".
        qk_l2_norm: Keys and queries of the memory have length 1 (N25).
        tie_embeddings: The output projection is the embedding (arXiv 1608.05859), for few examples and many tokens.
        recurrent: Sizes of the recurrent rivals.
        settings: Settings that are one mixer's own, such as `MacConfig`: at most one of each class, in any order; the
            others are at their defaults. A study sets them as `model.<mixer>.<field>`.
    """

    variant: str = field(default="mac", metadata={"choices": variants})
    vocab_size: int = 256
    dim: int = 128
    n_layers: int = 2
    n_heads: int = 4
    mlp_ratio: float = 3.0
    persistent_tokens: int = 8
    segment_len: int = 64
    window: int = 64
    conv_size: int = 4
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    settings: tuple[Any, ...] = field(default=(), metadata={"sections": settings_classes})
    persistent_written: bool | None = field(default=None, metadata={"neutral": None})
    combine: Combination = field(default="norm_sigmoid", metadata={"neutral": "norm_sigmoid"})
    qkv_activation: Literal["silu", "none"] = field(default="silu", metadata={"neutral": "silu"})
    qk_l2_norm: bool = field(default=True, metadata={"neutral": True})
    tie_embeddings: bool = field(default=False, metadata={"neutral": False})
    recurrent: RecurrentConfig = field(default_factory=RecurrentConfig)

    def __post_init__(self) -> None:
        at_least(self, 1, "vocab_size", "dim", "n_layers", "n_heads", "segment_len", "window", "conv_size")
        at_least(self, 0, "persistent_tokens")
        if "n_heads" in reads(self.variant) and self.dim % (2 * self.n_heads):
            raise ValueError(
                f"dim: {self.dim} is not divisible by 2 x n_heads ({self.n_heads}); rotary positions need even heads"
            )
        if self.mlp_ratio <= 0:
            raise ValueError(f"mlp_ratio: {self.mlp_ratio} is not above 0")
        at_most(self, MOST_BLOCKS, "n_layers")
        at_most(self, WIDEST, "mlp_ratio")
        turn = pattern(self.variant)
        if self.n_layers < len(turn):
            raise ValueError(
                f"n_layers: {self.n_layers} are too few for {self.variant}, whose blocks take turns with "
                f"{', '.join(turn)}"
            )
        object.__setattr__(self, "settings", canonical_settings(self.settings))
        for name in turn:
            if mixer(name).settings and name in self.__dataclass_fields__:
                raise ValueError(f"variant: the mixer {name} has settings; give it a name that is no key of a model")
            mixer(name).check(self)

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.dim // self.n_heads

    @property
    def has_memory(self) -> bool:
        """Whether some block is written by the memory's operator."""
        return "memory.chunk_size" in reads(self.variant)

    @property
    def mixers(self) -> tuple[str, ...]:
        """The mixer of each block."""
        turn = pattern(self.variant)
        return tuple(turn[block % len(turn)] for block in range(self.n_layers))

    def settings_of(self, kind: type[Settings]) -> Settings:
        """Return a mixer's own settings, by their class: those in `settings`, or the defaults."""
        return next((each for each in self.settings if type(each) is kind), None) or kind()

    @property
    def leaks(self) -> str | None:
        """The key of a setting by which a token sees later ones, if there is one."""
        found = (mixer(name).leaks(self) for name in pattern(self.variant))
        return next(filter(None, found), None)

    @property
    def hidden(self) -> int:
        """Hidden width of the feed-forward layer, a multiple of 8."""
        return max(8, round(self.dim * self.mlp_ratio / 8) * 8)
