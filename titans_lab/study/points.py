"""From the combinations of a study to configurations that can be run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from titans_lab.errors import UserError
from titans_lab.study.blame import Layers, blamed, names_a_key
from titans_lab.study.config import RunConfig
from titans_lab.study.derived import DERIVED
from titans_lab.study.fields import Impossible, build
from titans_lab.study.outline import Problems
from titans_lab.study.rules import Rule
from titans_lab.study.settings import MOST_RUNS
from titans_lab.study.space import Choice, Space
from titans_lab.study.values import show


@dataclass(frozen=True)
class Point:
    """One combination of a study.

    Attributes:
        factors: What varies, by dotted key, and its values here; "study" and "arm" are names.
        config: What all comes to.
        solved: What `hold` found for it, by dotted key.
        deviation: From the baseline in what is held, as a share of that; None: nothing is held.
        baseline: Whether the study names it as what others are compared with.
        layers: What the study sets for it, with places.
    """

    factors: dict[str, Any]
    config: RunConfig
    solved: dict[str, Any] = field(default_factory=dict)
    deviation: float | None = None
    baseline: bool = False
    layers: Layers = field(default=(), repr=False, compare=False)

    def located(self, error: UserError, file: str) -> UserError:
        """The error with the place of the value that it blames, or the file where the study sets none."""
        if not names_a_key(str(error)):
            return error  # it names its own place
        return UserError(f"{blamed(str(error), self.layers) or file}: {error}")


@dataclass(frozen=True)
class Draft:
    """A combination whose values make a configuration."""

    space: Space
    choice: Choice
    point: Point

    def lookup(self, name: str) -> Any:
        """The value of a name in an expression."""
        if name in DERIVED:
            return DERIVED[name](self.point.config)
        return self.point.solved[name] if name in self.point.solved else self.choice.lookup(name)


class Sieve:
    """Rules at work: what each removed, and what is wrong with which combinations."""

    def __init__(self) -> None:
        self.removed: Counter[str] = Counter()  # by the place of a rule
        self._faults: dict[str, list[Mapping[str, Any]]] = {}

    def fault(self, line: str, factors: Mapping[str, Any]) -> None:
        self._faults.setdefault(line, []).append(factors)

    def passes(self, rules: Iterable[Rule], lookup: Callable[[str], Any], factors: Mapping[str, Any]) -> bool:
        """Whether all rules keep a combination."""
        for rule in rules:
            try:
                holds = rule.holds(lookup)
            except ValueError as error:
                self.fault(f"{rule.place}: {rule.key}: {error}", factors)
                return False
            if holds != rule.keeps:
                self.removed[rule.place] += 1
                return False
        return True

    def report(self, total: int, problems: Problems) -> None:
        """A line for each fault, with the combinations that it is in, unless it is in all; raises if there are any."""
        for line, factors in self._faults.items():
            problems.tell(line + ("" if len(factors) == total else f" (with {some(factors)})"))
        problems.stop()


def check_size(spaces: Sequence[Space], seeds: int, problems: Problems) -> None:
    """Refuses more runs than anyone means."""
    points = sum(space.size for space in spaces)
    if points > 1 and points * seeds > MOST_RUNS:
        _refuse_size(spaces, points, seeds, problems)


def draft(
    spaces: Sequence[Space], seeds: int, late: Collection[str], sieve: Sieve, problems: Problems
) -> tuple[Draft, ...]:
    """What the combinations come to, but for those that a rule removes; rules that ask for a name in `late` wait."""
    kept: list[tuple[Space, Choice]] = []
    total = 0
    for space in spaces:
        rules = [rule for rule in space.rules if not rule.names & set(late)]
        for choice in space.choices(problems):
            total += 1
            if sieve.passes(rules, choice.lookup, choice.factors):
                kept.append((space, choice))
            if len(kept) > 1 and len(kept) * seeds > MOST_RUNS:
                _refuse_size(spaces, len(kept), seeds, problems)
    drafts = [each for space, choice in kept for each in _built(space, choice, sieve)]
    sieve.report(total, problems)
    return tuple(drafts)


def sift(drafts: Sequence[Draft], late: Collection[str], sieve: Sieve, problems: Problems) -> list[Draft]:
    """What the rules that waited keep."""
    late_of = {id(each.space): [rule for rule in each.space.rules if rule.names & set(late)] for each in drafts}
    kept = [each for each in drafts if sieve.passes(late_of[id(each.space)], each.lookup, each.point.factors)]
    sieve.report(len(drafts), problems)
    return kept


def refuse_empty(spaces: Sequence[Space], kept: Sequence[Draft], sieve: Sieve, problems: Problems) -> None:
    """Adds a problem for each space of which the rules leave nothing."""
    left = {id(each.space) for each in kept}
    for space in spaces:
        removers = [rule for rule in space.rules if sieve.removed[rule.place]]
        if id(space) not in left and removers:
            whose = f" of the sub-study {space.name}" if space.name else ""
            message = f"none of the {space.size} combinations{whose} is left; loosen it, or widen what varies"
            problems.add(removers[-1].place, removers[-1].key, message)


def idle_exclusions(spaces: Sequence[Space], sieve: Sieve) -> Iterator[str]:
    """A warning for each exclusion that removes nothing."""
    places = {rule.place: None for space in spaces for rule in space.rules if rule.key == "exclude"}
    for place in places:
        if not sieve.removed[place]:
            yield f"{place}: exclude: no combination has these values, or an earlier rule removes it; remove the line"


def some(factors: Sequence[Mapping[str, Any]]) -> str:
    """Which combinations, in a few words."""
    first = ", ".join(f"{key}={show(value)}" for key, value in factors[0].items()) or "the base"
    return first + (f" and {len(factors) - 1} more" if len(factors) > 1 else "")


def _refuse_size(spaces: Sequence[Space], points: int, seeds: int, problems: Problems) -> None:
    place = next(place for space in spaces for place in (*space.varied_keys().values(), space.name))
    count = f"{points * seeds} runs ({points} combinations x {seeds} seeds), more than {MOST_RUNS}"
    problems.add(place, "grid", f"{count}; split the study")
    problems.stop()


def _built(space: Space, choice: Choice, sieve: Sieve) -> Iterator[Draft]:
    try:
        yield Draft(space, choice, Point(dict(choice.factors), build(RunConfig, choice.values), layers=choice.layers))
    except Impossible as error:
        for fault in error.faults:
            place = blamed(fault, choice.layers) or next(s.place for layer in choice.layers for s in layer.values())
            sieve.fault(f"{place}: {fault}", choice.factors)
