"""Configuration of a whole model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from titans.mixers.registry import canonical_settings, mixer, pattern, settings_classes, variants
from titans.models.config.checks import at_least, at_most
from titans.models.config.keys import reads
from titans.models.config.memory import MemoryConfig
from titans.models.config.recurrent import RecurrentConfig

MOST_BLOCKS = 10_000  # a limit because costs are computed block by block
WIDEST = 1_000_000  # hidden width over `dim`
Combination = Literal["norm_sigmoid", "sigmoid", "product"]
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class ModelConfig:
    """A model of Llama-style blocks, as in the NeurIPS 2025 camera-ready of the Titans paper; by default over bytes.

    Attributes:
        variant: Sequence mixer of the blocks, such as the memory alone (lmm), as context (mac), as gate (mag), as layer
            (mal), or a model to compare with. docs/models.md has the table.
        vocab_size: Number of distinct tokens; 256 for bytes.
        dim: Width of the residual stream.
        n_layers: Number of blocks. A block is a mixer and a SwiGLU.
        n_heads: Heads of attention, of the memory, and of other mixers that have heads. `dim` must be a multiple of
            this number for the memory, and of twice this number for attention, whose rotary positions need even heads.
            Other mixers round their widths.
        mlp_ratio: Hidden width of the SwiGLU over `dim`.
        persistent_tokens: Learned tokens before every sequence, the paper's task knowledge. The NeurIPS 2025
            camera-ready has 128.
        segment_len: Tokens that MAC attends over at a time; a multiple of `memory.chunk_size`. The NeurIPS 2025
            camera-ready has 512.
        window: Tokens that sliding-window attention sees, the token itself included. The NeurIPS 2025 camera-ready has
            2048.
        conv_size: Taps of the causal depthwise convolution on q, k and v, or on the inner stream of a state space; 1 is
            no convolution. The NeurIPS 2025 camera-ready has 4.
        attention_conv_size: Taps of the causal depthwise convolution on q, k and v of attention, full or over a window,
            alone or inside mac, mag, mal and the hybrids; 1 is no convolution, as in Transformer++. The NeurIPS 2025
            camera-ready has 4. In mac it starts anew in every segment.
        memory: The long-term memory.
        settings: Settings that are one mixer's own, such as `MacConfig`: at most one of each class, in any order; the
            others are at their defaults. A study sets them as `model.<mixer>.<field>`.
        persistent_written: Whether the persistent tokens are also written to the memory. Null: true for mag and mal,
            because the arXiv v1's formulas begin their sequence with these tokens; false for mac. lmm always writes
            them.
        combine: Product of attention and memory in mac and mag. "norm_sigmoid": both pass a norm with a learned scale,
            and the memory a sigmoid (arXiv v1, section 4.2). "sigmoid": the memory passes a sigmoid. "product": the
            plain product.
        qkv_activation: Activation on the memory's q, k and v: "silu" (the NeurIPS 2025 camera-ready) or "none".
        qk_l2_norm: Whether queries and keys of the memory are divided by their length, as in the NeurIPS 2025
            camera-ready.
        tie_embeddings: Whether the output projection is the embedding (arXiv 1608.05859), which helps a large
            vocabulary with few examples.
        recurrent: Sizes of recurrent mixers.
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
    attention_conv_size: int = field(default=1, metadata={"neutral": 1})
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    settings: tuple[Any, ...] = field(default=(), metadata={"sections": settings_classes})
    persistent_written: bool | None = field(default=None, metadata={"neutral": None})
    combine: Combination = field(default="norm_sigmoid", metadata={"neutral": "norm_sigmoid"})
    qkv_activation: Literal["silu", "none"] = field(default="silu", metadata={"neutral": "silu"})
    qk_l2_norm: bool = field(default=True, metadata={"neutral": True})
    tie_embeddings: bool = field(default=False, metadata={"neutral": False})
    recurrent: RecurrentConfig = field(default_factory=RecurrentConfig)

    def __post_init__(self) -> None:
        at_least(self, 1, "vocab_size", "dim", "n_layers", "n_heads", "segment_len", "window")
        at_least(self, 1, "conv_size", "attention_conv_size")
        at_least(self, 0, "persistent_tokens")
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
        self._check_heads(max(mixer(name).head_multiple for name in turn))
        object.__setattr__(self, "settings", canonical_settings(self.settings))
        for name in turn:
            if mixer(name).settings and name in self.__dataclass_fields__:
                raise ValueError(f"variant: the mixer {name} has settings; give it a name that is not a key of a model")
            mixer(name).check(self)

    def _check_heads(self, multiple: int) -> None:
        """Refuse a width that cannot be divided among the heads: see `MixerSpec.head_multiple`."""
        if multiple and self.dim % (multiple * self.n_heads):
            even = "2 x n_heads" if multiple == 2 else "n_heads"
            why = "; rotary positions need even heads" if multiple == 2 else ""
            raise ValueError(f"dim: {self.dim} is not divisible by {even} ({self.n_heads}){why}")

    @property
    def head_dim(self) -> int:
        """Return the width of one head."""
        return self.dim // self.n_heads

    @property
    def has_memory(self) -> bool:
        """Return whether a mixer computes with the operator `neural_memory`."""
        return "memory.chunk_size" in reads(self.variant)

    @property
    def torch_only(self) -> bool:
        """Return whether a mixer's memory has a form that no fused kernel of `neural_memory` computes."""
        return any(mixer(name).torch_only(self) for name in pattern(self.variant))

    @property
    def mixers(self) -> tuple[str, ...]:
        """Return the name of each block's mixer."""
        turn = pattern(self.variant)
        return tuple(turn[block % len(turn)] for block in range(self.n_layers))

    def settings_of(self, kind: type[Settings]) -> Settings:
        """Return a mixer's own settings by their class: those in `settings`, or the defaults."""
        return next((each for each in self.settings if type(each) is kind), None) or kind()

    @property
    def leaks(self) -> str | None:
        """Return the key of a setting by which a token sees later ones, if there is one."""
        found = (mixer(name).leaks(self) for name in pattern(self.variant))
        return next(filter(None, found), None)

    @property
    def hidden(self) -> int:
        """Return the hidden width of the SwiGLU, a multiple of 8."""
        return max(8, round(self.dim * self.mlp_ratio / 8) * 8)
