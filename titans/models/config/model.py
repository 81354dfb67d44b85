"""What a whole model is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from titans.models.config.checks import at_least, at_most
from titans.models.config.mac import MacConfig
from titans.models.config.memory import MemoryConfig
from titans.models.config.mixers import PUBLISHED, READS, Variant, pattern, reads
from titans.models.config.recurrent import RecurrentConfig

MOST_BLOCKS = 10_000  # costs are counted block by block
WIDEST = 1_000_000  # hidden over residual width
Combination = Literal["norm_sigmoid", "sigmoid", "product"]


@dataclass(frozen=True)
class ModelConfig:
    """A model of Llama-style blocks as N25 has them, by default one of language, over bytes.

    Attributes:
        variant: The sequence mixers of the blocks: the memory alone (lmm), as context (mac), gate (mag) or layer (mal),
            or one of its rivals: README.md has a table.
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
        mac: Readings of memory as context.
        persistent_written: The persistent tokens are written to the memory too: yes for lmm, mag and mal by V1's
            formulas, whose sequence begins with them, no for mac. Null: so.
        combine: The product of attention and memory in mac and mag: both normalised with a learned scale and the second
            through a sigmoid ("norm_sigmoid", V1 section 4.2), the second through a "sigmoid", or the raw "product".
        qkv_activation: Of the memory's q, k and v: "silu" (N25) or "none".
        qk_l2_norm: Keys and queries of the memory have length 1 (N25).
        tie_embeddings: The output projection is the embedding (arXiv 1608.05859), for few examples and many tokens.
        recurrent: Sizes of the recurrent rivals.
    """

    variant: Variant = "mac"
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
    mac: MacConfig = field(default_factory=MacConfig)
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
        if self.n_layers < len(pattern(self.variant)):
            raise ValueError(
                f"n_layers: {self.n_layers} are too few for {self.variant}, whose blocks take turns with "
                f"{', '.join(pattern(self.variant))}"
            )
        for name in ("chunk_size", "eval_chunk_size"):
            chunk = getattr(self.memory, name)
            if self.variant == "mac" and chunk is not None and self.segment_len % chunk:
                raise ValueError(
                    f"segment_len: {self.segment_len} is not a multiple of memory.{name} ({chunk}); "
                    "MAC writes a segment in whole chunks"
                )

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

    def state_size(self, mixer: str) -> int:
        """`recurrent.state_size`, or what null means for a mixer."""
        return int(self._size(mixer, "state_size"))

    def short_convolution(self, mixer: str) -> int:
        """Width of a recurrent mixer's convolution; 1 is none."""
        return self.conv_size if "conv_size" in READS[mixer] else int(self._size(mixer, "conv_size"))

    def key_dim(self, mixer: str) -> int:
        """Width of a recurrent mixer's keys, of all heads together."""
        return self._even_heads(mixer, self._size(mixer, "expand_k"))

    def value_dim(self, mixer: str) -> int:
        """Width of a recurrent mixer's values or inner stream, of all heads together."""
        return self._even_heads(mixer, self._size(mixer, "expand_v"))

    def _size(self, mixer: str, name: str) -> float:
        given = getattr(self.recurrent, name)
        size: float | None = getattr(PUBLISHED[mixer], name) if given is None else given
        assert size is not None, f"{mixer} has no {name}"
        return size

    def _even_heads(self, mixer: str, expansion: float) -> int:
        heads = self.n_heads if "n_heads" in READS[mixer] else 1
        return 2 * heads * max(1, round(self.dim * expansion / (2 * heads)))

    @property
    def writes_persistent(self) -> bool:
        """Whether the persistent tokens are written to the memory."""
        given = self.persistent_written if "persistent_written" in reads(self.variant) else None
        return self.variant != "mac" if given is None else given

    @property
    def leaks(self) -> str | None:
        """The key of a setting by which a token sees later ones, if there is one."""
        return "mac.read" if self.variant == "mac" and self.mac.read == "end_leaks" else None

    @property
    def hidden(self) -> int:
        """Hidden width of the feed-forward layer, a multiple of 8."""
        return max(8, round(self.dim * self.mlp_ratio / 8) * 8)
