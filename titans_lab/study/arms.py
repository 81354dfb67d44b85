"""The arms of a study that a search tunes, each by itself: from values of its parameters to a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from titans_lab.errors import UserError
from titans_lab.study.axes import NAMED, Axis, Level, assignment
from titans_lab.study.compare import hold_equal
from titans_lab.study.derived import DERIVED
from titans_lab.study.dimensions import Dimension
from titans_lab.study.hold import KEYS, QUANTITIES, SOLVED_BY, Hold
from titans_lab.study.identity import read_values
from titans_lab.study.metric import COSTS, RECORDED, Metric, find
from titans_lab.study.outline import Problems
from titans_lab.study.points import Draft, Point, Sieve, draft, sift
from titans_lab.study.search import SearchTerms
from titans_lab.study.settings import Setting
from titans_lab.study.space import Space
from titans_lab.study.terms import Terms


@dataclass(frozen=True)
class Arm:
    """One combination of a study, as it is without the search, and the way to others of it.

    Attributes:
        draft: The combination.
        space: The parameters of the search.
        metrics: What is optimised.
        hold: What is equal in all arms.
    """

    draft: Draft = field(repr=False)
    space: tuple[Dimension, ...]
    metrics: tuple[Metric, ...]
    hold: Setting | None = None

    @property
    def base(self) -> Point:
        """The combination with the values that the study itself gives."""
        return self.draft.point

    @property
    def label(self) -> str:
        """What tells it from others, for people; "" where it is the only one."""
        return " ".join(value if key in NAMED else assignment(key, value) for key, value in self.base.factors.items())

    def lookup(self, name: str) -> Any:
        """The value of a key where the search does not set it."""
        return self.draft.lookup(name)

    def point(self, values: Mapping[str, Any]) -> Point:
        """The combination with these values of parameters.

        Raises:
            UserError: It is no configuration, or a rule of the study leaves it out.
        """
        problems = Problems()
        chosen = Level({key: Setting(value, self._places[key]) for key, value in values.items()}, dict(values))
        axis = Axis((chosen,), {key: self._places[key] for key in values})
        space = replace(self.draft.space, axes=(*self._levels(), axis))
        held = {KEYS[by] for by in self.hold.value.by} if self.hold else set()
        late = held | DERIVED.keys()
        sieve = Sieve()
        drafts: Sequence[Draft] = [each for each in draft([space], 1, late, sieve, problems) if self._holds(each)]
        if self.hold:
            drafts = hold_equal(drafts, self.hold, [self._target] * len(drafts), problems)
            problems.stop()
        for each in sift(drafts, late, sieve, problems):
            return replace(each.point, baseline=self.base.baseline)
        for place in sieve.removed:
            problems.add(place, "search", "a rule of the study leaves this combination out")
        problems.stop()
        raise UserError(f"{self.label}: a condition of the study leaves this arm out")

    @property
    def _places(self) -> dict[str, str]:
        return {dimension.key: dimension.place for dimension in self.space}

    @property
    def _target(self) -> int:
        """What is held, as the study solved it for the arm without the search."""
        assert self.hold is not None
        cost = QUANTITIES[self.hold.value.what](self.base.config)
        return round(cost / (1 + (self.base.deviation or 0.0)))

    def _levels(self) -> Iterator[Axis]:
        """The axes of the study, each with the arm's level alone."""
        for axis in self.draft.space.axes:
            levels = [level for level in axis.levels if level.factors.items() <= self.base.factors.items()]
            yield replace(axis, levels=tuple(levels[:1]))

    def _holds(self, other: Draft) -> bool:
        return self.base.factors.items() <= other.point.factors.items()


@dataclass(frozen=True)
class Search:
    """The block `search` of a study, and the arms that it tunes."""

    terms: SearchTerms
    arms: tuple[Arm, ...]

    def unread(self) -> Iterator[str]:
        """A warning for each parameter without a condition that no arm reads."""
        read = {key for arm in self.arms for key in read_values(arm.base.config)}
        for dimension in self.terms.space:
            if dimension.key not in read and dimension.when is None:
                at = f"{dimension.place}: search.space.{dimension.key}"
                yield f"{at}: no arm reads it as the base is; say when it exists, or remove it"


def check_arms(
    search: SearchTerms, terms: Terms, spaces: Sequence[Space], drafts: Sequence[Draft], hold: Setting | None,
    problems: Problems,
) -> Search:  # fmt: skip
    """The search of a study; what it sets, nothing else may."""
    _refuse_set_elsewhere(search.space, spaces, problems)
    if hold:
        _refuse_held(search.space, hold.value, problems)
    arms = []
    for each in drafts:
        task = each.point.config.task.settings
        asked = search.objectives or ((_final(terms.metric),) if terms.metric else ())
        metrics = found_metrics("search.metric", asked, task.metrics() | RECORDED | COSTS, problems)
        arms.append(Arm(each, search.space, metrics or (task.METRIC,), hold))
    problems.stop()
    return Search(search, tuple(arms))


def found_metrics(
    key: str, asked: Sequence[Setting], known: Mapping[str, Metric], problems: Problems
) -> tuple[Metric, ...]:
    """The metrics that are asked for, of those that runs of a task record."""
    found = []
    for each in asked:
        try:
            found.append(find(known, **each.value))
        except ValueError as error:
            problems.add(each.place, key, error)
    return tuple(found)


def _final(asked: Setting) -> Setting:
    """What a search optimises where the study asks for the best value: the one at the end of a run."""
    return replace(asked, value=asked.value | {"taken": "final"})


def _refuse_set_elsewhere(dimensions: Sequence[Dimension], spaces: Sequence[Space], problems: Problems) -> None:
    varied = {key: place for space in spaces for key, place in space.varied_keys().items()}
    for dimension in dimensions:
        if dimension.key in varied:
            message = f"varied already at {varied[dimension.key]}; keep one of them"
            problems.add(dimension.place, f"search.space.{dimension.key}", message)


def _refuse_held(dimensions: Sequence[Dimension], hold: Hold, problems: Problems) -> None:
    for dimension in dimensions:
        if dimension.key in {KEYS[by] for by in hold.by}:
            others = [way for way in SOLVED_BY[hold.what] if KEYS[way] != dimension.key]
            remedy = f"hold by {' or '.join(others)}, or remove it here" if others else "remove it here"
            problems.add(dimension.place, f"search.space.{dimension.key}", f"hold would solve for it; {remedy}")
