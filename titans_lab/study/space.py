"""The search space of a study: axes of levels over a base, conditions and rules, and their combinations."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from titans_lab.run.values import ARM, NAMED, PRESET, STUDY, show
from titans_lab.study.presets import PRESETS
from titans_lab.study.reading import Problems, Setting

UNCHANGED = "base"  # the arm of `ablate` that changes nothing

Layers = Sequence[Mapping[str, Setting]]  # settings by dotted key, the uppermost first
Lookup = Callable[[str], Any]  # from a name to its value


@dataclass(frozen=True)
class Rule:
    """A condition on a combination.

    Attributes:
        holds: A function of the values of names that says whether the condition holds, or raises ValueError.
        names: The names that it uses.
        place: The place of the rule.
        key: The key of the study that it belongs to: "where", "exclude" or "baseline".
        keeps: The answer with which a combination is kept.
    """

    holds: Callable[[Lookup], bool]
    names: frozenset[str]
    place: str
    key: str
    keeps: bool = True


@dataclass(frozen=True)
class Level:
    """One value of an axis: its settings by dotted key, its factors, and its place."""

    settings: Mapping[str, Setting]
    factors: Mapping[str, Any]
    place: str = ""


@dataclass(frozen=True)
class Axis:
    """The levels of a factor, of which a run has one.

    Attributes:
        levels: The levels, in order.
        keys: The keys that the levels set, each with the place where it is varied.
    """

    levels: tuple[Level, ...]
    keys: Mapping[str, str]


@dataclass(frozen=True)
class SubSpace:
    """The keys of a study, a sub-study or a condition that decide its runs.

    Attributes:
        presets: The presets. Later ones override earlier ones.
        base: The settings of all runs, by dotted key.
        grid: The values of each key. Every combination is a run.
        zips: Groups of lists of values that are varied together.
        when: Conditions, and the settings under each.
        ablate: The arms of each entry, as levels.
        exclude: The rules for combinations to leave out.
        where: The conditions that every combination must meet.
    """

    presets: tuple[Setting, ...] = ()
    base: Mapping[str, Setting] = field(default_factory=dict)
    grid: Mapping[str, Setting] = field(default_factory=dict)
    zips: tuple[Mapping[str, Setting], ...] = ()
    when: tuple[tuple[Setting, SubSpace], ...] = ()
    ablate: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)
    exclude: tuple[Rule, ...] = ()
    where: tuple[Rule, ...] = ()

    def under(self, outer: SubSpace) -> SubSpace:
        """Return this sub-study merged into the study."""
        return SubSpace(
            presets=self.presets or outer.presets,
            base={**outer.base, **self.base},
            grid={**outer.grid, **self.grid},
            zips=outer.zips + self.zips,
            when=outer.when + self.when,
            ablate={**outer.ablate, **self.ablate},
            exclude=outer.exclude + self.exclude,
            where=outer.where + self.where,
        )


@dataclass(frozen=True)
class Choice:
    """One combination. The levels of its axes override the base, and the base overrides the presets.

    Attributes:
        defaults: The defaults of all keys, by dotted key.
        factors: The varied values, by dotted key or one of `NAMED`.
    """

    defaults: Mapping[str, Any]
    presets: tuple[Setting, ...]
    base: Mapping[str, Setting]
    chosen: Mapping[str, Setting] = field(default_factory=dict)
    factors: Mapping[str, Any] = field(default_factory=dict)

    def with_levels(self, levels: Iterable[Level]) -> Choice:
        """Return this combination with the levels of further axes."""
        chosen, factors = dict(self.chosen), dict(self.factors)
        for level in levels:
            chosen |= level.settings
            factors |= level.factors
        return replace(self, chosen=chosen, factors=factors)

    @cached_property
    def layers(self) -> Layers:
        """Return the layers of settings by dotted key, the one that overrides all others first."""
        presets = (*self.presets, self.chosen[PRESET]) if PRESET in self.chosen else self.presets
        chosen = {key: setting for key, setting in self.chosen.items() if key != PRESET}
        named = {key: Setting(value, name.place) for name in presets for key, value in PRESETS[name.value].items()}
        return chosen, self.base, named

    @cached_property
    def values(self) -> dict[str, Any]:
        """Return the values that are set, by dotted key."""
        return {key: setting.value for layer in reversed(self.layers) for key, setting in layer.items()}

    def lookup(self, name: str) -> Any:
        """Return the value of a key, or of a factor that is a name."""
        if name == PRESET:
            return self.factors.get(PRESET, self.presets[-1].value if self.presets else None)
        if name in NAMED:
            return self.factors.get(name)
        return self.values[name] if name in self.values else self.defaults[name]


@dataclass(frozen=True)
class Condition:
    """Settings and axes that a combination gets if an expression holds for it."""

    holds: Callable[[Lookup], bool]
    place: str
    base: Mapping[str, Setting]
    axes: tuple[Axis, ...]

    def extend(self, choice: Choice, problems: Problems) -> Iterator[Choice]:
        """Yield the combinations that a combination becomes."""
        try:
            holds = self.holds(choice.lookup)
        except ValueError as error:
            problems.add(self.place, "when", error)
            return
        if not holds:
            yield choice
            return
        keys = {key: setting.place for key, setting in self.base.items()} | _keys(self.axes)
        for key in keys.keys() & choice.chosen.keys():
            problems.add(keys[key], key, f"varied already at {choice.chosen[key].place}; keep one of them")
        fuller = replace(choice, base={**choice.base, **self.base})
        for levels in itertools.product(*(axis.levels for axis in self.axes)):
            yield fuller.with_levels(levels)


@dataclass(frozen=True)
class Space:
    """The space of a study or of one of its sub-studies: axes, conditions and rules over a base.

    Attributes:
        name: The name of the sub-study, or "" for the study itself.
        start: The combination without any axis.
    """

    name: str
    start: Choice
    axes: tuple[Axis, ...]
    conditions: tuple[Condition, ...]
    rules: tuple[Rule, ...]

    @property
    def size(self) -> int:
        """Return the number of combinations of the axes."""
        return math.prod(len(axis.levels) for axis in self.axes)

    def choices(self, problems: Problems) -> Iterator[Choice]:
        """Yield every combination, with the last axis varying fastest and the conditions applied."""
        for levels in itertools.product(*(axis.levels for axis in self.axes)):
            found = [self.start.with_levels(levels)]
            for condition in self.conditions:  # each sees the settings of earlier ones
                found = [fuller for choice in found for fuller in condition.extend(choice, problems)]
            yield from found

    def set_keys(self) -> dict[str, str]:
        """Return every key that is set anywhere, with a place."""
        return {key: setting.place for key, setting in self.start.base.items()} | self.varied_keys()

    def varied_keys(self) -> dict[str, str]:
        """Return every key that the study varies, with a place."""
        given = {key: each.place for condition in self.conditions for key, each in condition.base.items()}
        return given | _keys((*self.axes, *(axis for condition in self.conditions for axis in condition.axes)))


def space_of(name: str, block: SubSpace, defaults: Mapping[str, Any], problems: Problems) -> Space:
    """Return the space of a block, which is that of a sub-study where it has a name; no key is varied twice."""
    return Space(
        name=name,
        start=Choice(defaults, block.presets, block.base, factors={STUDY: name} if name else {}),
        axes=_axes(block, problems),
        conditions=tuple(
            Condition(text.value, text.place, inner.base, _axes(inner, problems)) for text, inner in block.when
        ),
        rules=(*block.exclude, *block.where),
    )


def _axes(block: SubSpace, problems: Problems) -> tuple[Axis, ...]:
    """Return all axes of a block, the sooner the slower they vary."""
    axes = [
        Axis(tuple(Level({key: each}, {key: each.value}) for each in levels.value), {key: levels.key_place})
        for key, levels in block.grid.items()
    ]
    axes += [_group(group, problems) for group in block.zips if group]
    if block.ablate:
        axes.append(_ablation(block.ablate, problems))
    varied: dict[str, str] = {}
    for axis in axes:
        for key, place in axis.keys.items():
            if varied.setdefault(key, place) != place:
                problems.add(place, key, f"varied already at {varied[key]}; keep one of them")
    return tuple(axes)


def _group(group: Mapping[str, Setting], problems: Problems) -> Axis:
    """Return the axis of lists whose values go together: the first with the first, and so on."""
    lengths = {key: len(column.value) for key, column in group.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        place = next(iter(group.values())).key_place
        problems.add(place, "zip", f"lists of different lengths: {counts}; make them equally long")
        return Axis((), {})
    rows = [dict(zip(group, row, strict=True)) for row in zip(*(each.value for each in group.values()), strict=True)]
    levels = (Level(row, {key: setting.value for key, setting in row.items()}) for row in rows)
    return Axis(tuple(levels), {key: column.key_place for key, column in group.items()})


def _ablation(entries: Mapping[str, tuple[Level, ...]], problems: Problems) -> Axis:
    """Return the base, and then what differs from it in one respect at a time."""
    levels = {UNCHANGED: Level({}, {ARM: UNCHANGED})}
    keys: dict[str, str] = {}
    for entry, arms in entries.items():
        for level in arms:
            name = level.factors[ARM]
            read = unicodedata.normalize("NFKC", name).strip()  # two ways to write a letter look the same
            if read in levels:
                problems.add(level.place, f"ablate.{entry}", f"a second arm {show(read)}; give it another name")
            levels[read] = level
            keys |= {key: level.place for key in level.settings if key not in keys}
    return Axis(tuple(levels.values()), keys)


def _keys(axes: Iterable[Axis]) -> dict[str, str]:
    return {key: place for axis in axes for key, place in axis.keys.items()}
