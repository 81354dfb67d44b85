"""What a sequence mixer says about itself: a specification, which imports no torch, so that planning is instant."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: A `ModelConfig`. That class asks the registry about its variant, so importing it here would close a circle.
Config: TypeAlias = Any
#: Values of a configuration by dotted key, such as `memory.depth`.
Values: TypeAlias = Mapping[str, Any]


def _unchanged(config: Config, values: Values) -> Values:
    return values


@dataclass(frozen=True, kw_only=True, eq=False)
class MixerSpec:
    """A sequence mixer: what it is, what it reads of a `ModelConfig`, what it costs, and where its layer is.

    A mixer is a folder: this specification is in its `__init__.py`, and what imports torch is in other files of it.
    Costs are exact closed forms. Tests compare them with the layer's counted parameters, FLOPs and state.

    Attributes:
        name: Name of the mixer, and of the variant whose blocks all have it.
        summary: What the mixer is, in a line for the table of variants.
        source: Where the mixer was published, for the same table.
        family: Mixers of one kind stand together in that table.
        layer: The layer, a `titans.mixers.mixer.Mixer` built from a `ModelConfig` alone, as "module:Class". Only what
            computes imports it.
        state: The named tuple that its streams carry from token to token, as "module:Class".
        parameters: Trainable numbers of the mixer in one block, of a configuration.
        multiply_adds: Multiply-adds of a forward pass, of a configuration, a length and a batch; FLOPs are twice that.
        state_size: Numbers that a stream carries after a length at a chunk's boundary, of a configuration and a length.
        reads: The keys of `ModelConfig` that the mixer reads, besides `dim` and its own settings: names of fields, of
            sections ("memory"), or dotted ("memory.chunk_size").
        published: Fields of `model.recurrent` that the mixer reads, and the published value that null stands for.
        settings: A frozen dataclass of settings of its own, each with a default. A study sets them as
            `model.<mixer>.<field>`, and `ModelConfig.settings_of` gives them to the layer.
        state_grows: Whether the state grows with the sequence, as a key-value cache does.
        check: Raise a `ValueError` that begins with the key for a configuration that the mixer cannot have.
        canonical: Values that the mixer reads, by dotted key, in one spelling: it returns the values that mean the same
            in one form, and without those that make no difference. Two models with equal ones are the same function.
        leaks: The key of a setting by which a token sees later ones, if the configuration has one.
        reduced: Settings of its own with every switch as it is and less of what there is only more of, so that the
            mixer can be verified in seconds.
        reference: A function, as "module:function", that makes a layer compute by its reference implementation: slow,
            and evidently what was published. `titans-lab verify` compares the two. None: there is none.
        golden_loss: Validation loss in bits per byte after six steps of `tests/titans_lab/test_golden.py`.
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
    published: Mapping[str, float] = field(default_factory=dict)
    settings: type | None = None
    state_grows: bool = False
    check: Callable[[Config], None] = lambda config: None
    canonical: Callable[[Config, Values], Values] = _unchanged
    leaks: Callable[[Config], str | None] = lambda config: None
    reduced: Callable[[Any], Any] = lambda settings: settings
    reference: str | None = None
    golden_loss: float | None = None

    @property
    def pattern(self) -> tuple[str, ...]:
        """Mixers of the blocks of the variant with this name: the mixer itself."""
        return (self.name,)

    def build(self, config: Config) -> Any:
        """Import the layer and return one for a block of this model."""
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
        summary: What the variant is, in a line for the table of variants.
        source: Where the variant was published.
        pattern: The mixers that its blocks take turns with.
        family, golden_loss: As in `MixerSpec`.
    """

    name: str
    summary: str
    source: str
    pattern: tuple[str, ...]
    family: str = "hybrid"
    golden_loss: float | None = None
