"""The specification of a sequence mixer without torch, so that planning is fast."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: A `ModelConfig`. That class asks the registry about its variant, so importing it here would close a circle.
Config: TypeAlias = Any
#: Values of a configuration by dotted key, such as `memory.depth`.
Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class MixerSpec:
    """The specification of a mixer: the keys of `ModelConfig` that it reads, its costs, and where its layer is.

    A mixer is a folder. Its `__init__.py` holds the specification, its other files may import torch. Costs are exact
    closed forms: tests compare them with the parameters, FLOPs and state of the layer.

    Attributes:
        name: Name of the mixer, and of the variant whose blocks all have the mixer.
        summary: What the mixer is, in one line for the table of variants.
        source: The publication of the mixer, for the same table.
        family: Kind of mixer. The table groups the mixers by family.
        layer: The layer as "module:Class": a `titans.mixers.mixer.Mixer`, built from a `ModelConfig` alone. It is
            imported only where a model is built.
        state: The named tuple that the layer carries between two tokens, as "module:Class".
        parameters: Trainable parameters of the layer, given a configuration.
        multiply_adds: Multiply-adds of a forward pass, given a configuration, the length of the sequences and their
            number; FLOPs are twice that.
        state_size: Numbers in the state of a sequence, given a configuration and the length of the sequence, which ends
            at the end of a chunk.
        reads: The keys of `ModelConfig` that the mixer reads besides `dim` and its own settings: names of fields, of
            sections ("memory"), or dotted keys ("memory.chunk_size").
        head_multiple: `dim` has to be a multiple of this number times `n_heads`: 2 where heads have rotary positions, 1
            where they need no even width, 0 where the mixer rounds its widths itself or has no heads.
        published: Fields of `model.recurrent` that the mixer reads, with the published values that null stands for.
        settings: Settings of its own: a frozen dataclass whose fields have defaults, described under "Attributes:" in
            its docstring. A study sets them as `model.<name>.<field>`, and the layer gets them by
            `ModelConfig.settings_of`.
        state_grows: Whether the state grows with the sequence, as a key-value cache does.
        check: A function that raises `ValueError`, beginning with the key, for a configuration that is impossible.
        canonical: A function of a configuration and of the values that the mixer reads, by dotted key. It returns the
            values in one spelling and without those that make no difference, so that models with equal ones are the
            same function and runs of them the same run.
        leaks: A function that returns the key of a setting by which a token sees later ones, or None.
        torch_only: A function that returns whether the layer's memory has a form that no fused kernel of
            `neural_memory` computes, so that torch's steps run.
        reduced: A function that returns settings of its own with the same switches and smaller sizes, for verification
            in seconds.
        reference: A function, as "module:function", that makes a layer compute by its reference implementation, which
            is slow and follows the publication literally. `titans-lab verify` compares the two. None: there is none.
        golden_loss: Validation loss in bits per byte after the six training steps of tests/titans_lab/test_golden.py.
    """

    name: str
    summary: str
    source: str
    layer: str
    state: str
    parameters: Callable[[Config], int]
    multiply_adds: Callable[[Config, int, int], int]
    state_size: Callable[[Config, int], int]
    family: str = "other"
    reads: frozenset[str] = frozenset()
    head_multiple: int = 0
    published: Mapping[str, float] = field(default_factory=dict)
    settings: type | None = None
    state_grows: bool = False
    check: Callable[[Config], None] = lambda config: None
    canonical: Callable[[Config, Values], Values] = lambda config, values: values
    leaks: Callable[[Config], str | None] = lambda config: None
    torch_only: Callable[[Config], bool] = lambda config: False
    reduced: Callable[[Any], Any] = lambda settings: settings
    reference: str | None = None
    golden_loss: float | None = None

    @property
    def pattern(self) -> tuple[str, ...]:
        """Return the mixers of the blocks of the variant with this name: the mixer itself."""
        return (self.name,)

    def build(self, config: Config) -> Any:
        """Import the layer and return one for a block of a model."""
        return pkgutil.resolve_name(self.layer)(config)

    def use_reference(self, layer: Any) -> None:
        """Make a layer compute by the reference implementation, if there is one."""
        if self.reference is not None:
            pkgutil.resolve_name(self.reference)(layer)


@dataclass(frozen=True, kw_only=True, eq=False)
class HybridSpec:
    """A variant whose blocks take turns with several mixers.

    Attributes:
        name: Name of the variant.
        summary: What the variant is, in one line for the table of variants.
        source: The publication of the variant.
        pattern: The mixers that its blocks take turns with.
        family, golden_loss: See `MixerSpec`.
    """

    name: str
    summary: str
    source: str
    pattern: tuple[str, ...]
    family: str = "hybrid"
    golden_loss: float | None = None
