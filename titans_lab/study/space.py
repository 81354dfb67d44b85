"""The combinations of a study: what each sets, layer by layer, and with what place for each value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from titans_lab.study.axes import NAMED, Axis, Level, check_axes
from titans_lab.study.derived import DERIVED
from titans_lab.study.fields import LEAVES
from titans_lab.study.loader import Node
from titans_lab.study.outline import PRESET, Block, Problems
from titans_lab.study.presets import PRESETS
from titans_lab.study.rules import Rule, check_exclude, check_where, expression_rule
from titans_lab.study.settings import HINTS, Setting, settings

DEFAULTS = {key: leaf.default for key, leaf in LEAVES.items()}


@dataclass(frozen=True)
class Choice:
    """One combination: what its axes chose goes before the base, and that before the presets.

    Attributes:
        factors: What tells it from others, by dotted key or one of `NAMED`.
    """

    presets: tuple[Setting, ...]
    base: Mapping[str, Setting]
    chosen: Mapping[str, Setting] = field(default_factory=dict)
    factors: Mapping[str, Any] = field(default_factory=dict)

    def with_level(self, level: Level) -> Choice:
        """This and what a level of an axis sets."""
        return replace(self, chosen={**self.chosen, **level.settings}, factors={**self.factors, **level.factors})

    @cached_property
    def layers(self) -> tuple[Mapping[str, Setting], ...]:
        """Settings by dotted key, the uppermost first."""
        if PRESET not in self.chosen:
            return self.chosen, self.base, preset_values(self.presets)
        chosen = {key: setting for key, setting in self.chosen.items() if key != PRESET}
        return chosen, self.base, preset_values((*self.presets, self.chosen[PRESET]))

    @cached_property
    def values(self) -> dict[str, Any]:
        """What is set, by dotted key."""
        return {key: setting.value for layer in reversed(self.layers) for key, setting in layer.items()}

    def lookup(self, name: str) -> Any:
        """The value of a key, or of a factor that is a name."""
        if name == PRESET:
            return self.factors.get(PRESET, self.presets[-1].value if self.presets else None)
        return self.factors.get(name) if name in NAMED else self.values.get(name, DEFAULTS[name])


@dataclass(frozen=True)
class Condition:
    """What a combination is given if a rule holds for it."""

    rule: Rule
    base: Mapping[str, Setting]
    axes: tuple[Axis, ...]

    def extend(self, choice: Choice, problems: Problems) -> Iterator[Choice]:
        """The combinations that one becomes."""
        try:
            holds = self.rule.holds(choice.lookup)
        except ValueError as error:
            problems.add(self.rule.place, "when", error)
            return
        if not holds:
            yield choice
            return
        keys = {key: setting.place for key, setting in self.base.items()} | _keys(self.axes)
        for key in keys.keys() & choice.chosen.keys():
            problems.add(keys[key], key, f"varied already at {choice.chosen[key].place}; keep one of them")
        fuller = replace(choice, base={**choice.base, **self.base})
        for levels in itertools.product(*(axis.levels for axis in self.axes)):
            yield _with_levels(fuller, levels)


@dataclass(frozen=True)
class Space:
    """A study without sub-studies, or one of them: axes, conditions and rules over a base.

    Attributes:
        name: Of the sub-study; "": there are none.
    """

    name: str
    start: Choice
    axes: tuple[Axis, ...]
    conditions: tuple[Condition, ...]
    rules: tuple[Rule, ...]

    @property
    def size(self) -> int:
        """Combinations of the axes."""
        return math.prod(len(axis.levels) for axis in self.axes)

    @property
    def values(self) -> dict[str, tuple[Any, ...]]:
        """What its axes set each key to, in order."""
        levels = [(key, [each.settings for each in axis.levels]) for axis in self.axes for key in axis.keys]
        return {key: tuple(each[key].value for each in given if key in each) for key, given in levels}

    def choices(self, problems: Problems) -> Iterator[Choice]:
        """Every combination, the last axis varying fastest, with what holds under its conditions."""
        for levels in itertools.product(*(axis.levels for axis in self.axes)):
            yield from _conditional(_with_levels(self.start, levels), self.conditions, problems)

    def set_keys(self) -> dict[str, str]:
        """The keys that are set anywhere, each with a place."""
        bases = (self.start.base, *(condition.base for condition in self.conditions))
        axes = (*self.axes, *(axis for condition in self.conditions for axis in condition.axes))
        return {key: setting.place for base in bases for key, setting in base.items()} | _keys(axes)

    def varied_keys(self) -> dict[str, str]:
        """The keys in which its runs may differ by what the study says, each with a place."""
        axes = (*self.axes, *(axis for condition in self.conditions for axis in condition.axes))
        return {key: s.place for each in self.conditions for key, s in each.base.items()} | _keys(axes)


def check_space(name: str, block: Block, factors: Mapping[str, Any], problems: Problems) -> Space:
    """The space of a block, with the factors that all of it shares."""
    axes = check_axes(block, problems)
    presets = check_presets(block.preset, problems) if block.preset else ()
    return Space(
        name=name,
        start=Choice(presets, check_base(block.base, problems), factors=factors),
        axes=tuple(axes),
        conditions=tuple(
            Condition(rule, check_base(inner.base, problems), tuple(check_axes(inner, problems)))
            for text, inner in block.when
            for rule in _condition(text, problems)
        ),
        rules=(*check_exclude(block.exclude, problems), *check_where(block.where, problems)),
    )


def check_presets(node: Node, problems: Problems) -> tuple[Setting, ...]:
    """The presets that a name or a list of names means, the later on top of the earlier."""
    nodes = node.value if isinstance(node.value, list) else [node]
    return tuple(settings(HINTS[PRESET], PRESET, nodes, problems))


def check_base(nodes: Mapping[str, Node], problems: Problems) -> dict[str, Setting]:
    """The base's values by dotted key."""
    return {key: setting for key, node in nodes.items() for setting in settings(HINTS[key], key, [node], problems)}


def preset_values(presets: Iterable[Setting]) -> dict[str, Setting]:
    """What presets set, by dotted key, each at the place that names the preset."""
    return {key: Setting(value, name.place) for name in presets for key, value in PRESETS[name.value].items()}


def _condition(text: Node, problems: Problems) -> Iterator[Rule]:
    """The rule of a condition, which comes before what is derived from a configuration."""
    for rule in expression_rule("when", text, problems):
        yield rule
        if derived := rule.names & DERIVED.keys():
            known = "a condition is asked before they are known; use keys of a run, or where"
            problems.add(rule.place, "when", f"{', '.join(sorted(derived))}: {known}")


def _conditional(choice: Choice, conditions: Sequence[Condition], problems: Problems) -> Iterator[Choice]:
    if not conditions:
        yield choice
        return
    for fuller in conditions[0].extend(choice, problems):
        yield from _conditional(fuller, conditions[1:], problems)


def _with_levels(choice: Choice, levels: Iterable[Level]) -> Choice:
    for level in levels:
        choice = choice.with_level(level)
    return choice


def _keys(axes: Iterable[Axis]) -> dict[str, str]:
    return {key: place for axis in axes for key, place in axis.keys.items()}
