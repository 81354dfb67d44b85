"""The block `search` of a study: what is drawn, by what it is judged, and what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from titans_lab.errors import nearest
from titans_lab.study.dimensions import Dimension, check_dimensions, check_values
from titans_lab.study.loader import Node
from titans_lab.study.metric import COSTS, MEASURED, Direction
from titans_lab.study.outline import Problems
from titans_lab.study.settings import Setting, settings
from titans_lab.study.terms import asked_metric, parts_of, seconds_of, values_of
from titans_lab.study.values import describe, show

SamplerName = Literal["tpe", "gp", "cmaes", "nsga2", "random", "qmc", "grid"]
PrunerName = Literal["none", "median", "asha", "hyperband"]
SEVERAL = ("tpe", "gp", "nsga2", "random", "qmc", "grid")  # samplers that take several objectives
KEYS = (
    "space",
    "metric",
    "trials",
    "timeout",
    "seeds",
    "sampler",
    "pruner",
    "constraints",
    "enqueue",
    "warm_start",
    "finalists",
)
MOST_TRIALS = 100_000


@dataclass(frozen=True)
class Chosen:
    """A sampler or a pruner by name, and its options, which the library behind it knows, with their places."""

    name: str
    options: Mapping[str, Setting] = field(default_factory=dict)
    place: str = ""

    def plain(self) -> dict[str, Any]:
        """As plain data: what tells two searches apart."""
        return {"name": self.name, **{key: setting.value for key, setting in self.options.items()}}


@dataclass(frozen=True)
class Limit:
    """A bound on a figure.

    Attributes:
        name: Of `MEASURED` or `COSTS`.
        low: The least that is allowed; None: anything.
        high: The most.
        place: Where it stands.
    """

    name: str
    low: float | None = None
    high: float | None = None
    place: str = ""

    def excess(self, value: float) -> float:
        """By what share of the bound a value violates it; at most 0: it does not."""
        over = -1.0 if self.high is None else (value - self.high) / (abs(self.high) or 1)
        under = -1.0 if self.low is None else (self.low - value) / (abs(self.low) or 1)
        return max(over, under)


@dataclass(frozen=True)
class Finalists:
    """How many of the best are run once more, and with how many seeds that the search has not seen."""

    count: int = 3
    seeds: int = 3


@dataclass(frozen=True)
class SearchTerms:
    """The block `search`.

    Attributes:
        space: The parameters, in the order in which they are drawn.
        objectives: What the block says of each metric to optimise: arguments of `titans_lab.study.metric.find`; empty:
            the study's metric, else the task's.
        trials: Of each arm.
        timeout: Seconds after which no trial begins; None: any.
        seeds: Of a trial, from 0; its value is the mean.
        sampler: Proposes.
        pruner: Stops what is not promising.
        limits: Bounds; what breaks one that is known before a run is never started.
        enqueue: Points to try first.
        warm_start: Whether runs that the store has are told to the sampler.
        finalists: What is run once more at the end; None: nothing.
        place: Where the block stands.
    """

    space: tuple[Dimension, ...]
    objectives: tuple[Setting, ...] = ()
    trials: int = 20
    timeout: float | None = None
    seeds: int = 1
    sampler: Chosen = Chosen("tpe")
    pruner: Chosen = Chosen("none")
    limits: tuple[Limit, ...] = ()
    enqueue: tuple[Mapping[str, Setting], ...] = ()
    warm_start: bool | None = None
    finalists: Finalists | None = None
    place: str = ""


def check_search(node: Node, problems: Problems) -> SearchTerms | None:
    """The block `search`; None where its space is none."""
    parts = parts_of(node, "search", None, KEYS, problems)
    if isinstance(node.value, dict) and "space" not in parts:
        problems.add(
            node.key_place, "search.space", "missing; name parameters, as in {train.lr: {float: [1e-3, 1e-2]}}"
        )
    if "space" not in parts:
        return None
    checks: dict[str, tuple[str, Callable[[Node, Problems], Any]]] = {
        "metric": ("objectives", check_objectives),
        "trials": ("trials", _counted("trials")),
        "timeout": ("timeout", check_timeout),
        "seeds": ("seeds", _counted("seeds")),
        "sampler": ("sampler", _chosen("sampler", SamplerName)),
        "pruner": ("pruner", _chosen("pruner", PrunerName)),
        "constraints": ("limits", check_limits),
        "warm_start": ("warm_start", _flag),
        "finalists": ("finalists", check_finalists),
    }
    before = problems.count
    space = check_dimensions(parts["space"], problems)
    found = {name: check(parts[key], problems) for key, (name, check) in checks.items() if key in parts}
    enqueue = _enqueued(parts["enqueue"], space, problems) if "enqueue" in parts and space else ()
    if problems.count > before:
        return None
    terms = SearchTerms(space, **found, enqueue=enqueue, place=node.key_place)
    _check_together(terms, problems)
    return terms


def check_objectives(node: Node, problems: Problems) -> tuple[Setting, ...]:
    """One metric or several, each by its name or with a direction."""
    nodes = node.value if isinstance(node.value, list) else [node]
    hints = {"name": str, "direction": Direction}
    found = [each for item in nodes if (each := asked_metric(item, "search.metric", hints, problems))]
    for number, each in enumerate(found):
        if each.value["name"] in [other.value["name"] for other in found[:number]]:
            problems.add(each.place, "search.metric", f"{each.value['name']} twice; remove one")
    if not nodes:
        problems.add(node.place, "search.metric", "an empty list; name a figure such as loss, or remove the key")
    return tuple(found)


def check_timeout(node: Node, problems: Problems) -> float | None:
    """The seconds after which no trial begins."""
    return seconds_of(node, "search.timeout", problems)


def check_limits(node: Node, problems: Problems) -> tuple[Limit, ...]:
    """A bound, or two, for each of some figures."""
    names = (*COSTS, *MEASURED)
    limits = []
    for name, child in parts_of(node, "search.constraints", None, _any_of(node) or names, problems).items():
        key = f"search.constraints.{name}"
        if name not in names:
            problems.add(child.key_place, key, f"no run records it; {nearest(name, names)}")
            continue
        hints = {"min": float, "max": float}
        given = values_of(parts_of(child, key, None, tuple(hints), problems), key, hints, problems)
        low, high = (given[bound].value if bound in given else None for bound in hints)
        if low is not None and high is not None and low > high:
            problems.add(child.place, key, f"min {show(low)} is above max {show(high)}; swap them")
        limits.append(Limit(name, low, high, child.key_place))
    return tuple(limits)


def check_finalists(node: Node, problems: Problems) -> Finalists:
    """A count, or a count and seeds."""
    hints = {"count": int, "seeds": int}
    key = "search.finalists"
    found = values_of(parts_of(node, key, "count", tuple(hints), problems), key, hints, problems)
    for name, setting in found.items():
        if not 1 <= setting.value <= 1000:
            problems.add(setting.place, f"{key}.{name}", f"{setting.value} is not from 1 to 1000; write 3")
    return Finalists(**{name: setting.value for name, setting in found.items()})


def _enqueued(node: Node, space: tuple[Dimension, ...], problems: Problems) -> tuple[Mapping[str, Setting], ...]:
    points = []
    for child in node.value if isinstance(node.value, list) else [node]:
        if isinstance(child.value, dict) and child.value:
            points.append(check_values(child.value, space, problems))
        else:
            problems.add(
                child.place, "search.enqueue", f"{describe(child.plain())}, not values; write {{train.lr: 6e-3}}"
            )
    return tuple(points)


def _check_together(terms: SearchTerms, problems: Problems) -> None:
    """What is wrong with keys that are right alone."""
    several = len(terms.objectives) > 1
    if several and terms.pruner.name != "none":
        problems.add(terms.pruner.place, "search.pruner", "stops by one objective, and there are several; remove it")
    if several and terms.sampler.name not in SEVERAL:
        names = ", ".join(SEVERAL)
        problems.add(terms.sampler.place, "search.sampler", f"{terms.sampler.name} takes one objective; write {names}")
    if terms.sampler.name == "grid":
        for dimension in terms.space:
            if dimension.values is None:
                message = "a grid needs values that can be counted; give it a step, or a choice"
                problems.add(dimension.place, f"search.space.{dimension.key}", message)


def _counted(key: str) -> Callable[[Node, Problems], int]:
    def check(node: Node, problems: Problems) -> int:
        for count in settings(int, f"search.{key}", [node], problems):
            if 1 <= count.value <= MOST_TRIALS:
                return count.value
            problems.add(
                count.place, f"search.{key}", f"{count.value} is not a count from 1 to {MOST_TRIALS}; write 20"
            )
        return 1

    return check


def _chosen(key: str, names: Any) -> Callable[[Node, Problems], Chosen]:
    def check(node: Node, problems: Problems) -> Chosen:
        parts = parts_of(node, f"search.{key}", "name", _any_of(node, "name"), problems)
        options = {name: Setting(part.plain(), part.key_place) for name, part in parts.items() if name != "name"}
        for name in values_of(parts, f"search.{key}", {"name": names}, problems).values():
            return Chosen(name.value, options, name.place)
        return Chosen("")

    return check


def _flag(node: Node, problems: Problems) -> bool | None:
    return next((setting.value for setting in settings(bool, "search.warm_start", [node], problems)), None)


def _any_of(node: Node, *names: str) -> tuple[str, ...]:
    """The keys of a mapping that are checked elsewhere."""
    return (*names, *(node.value if isinstance(node.value, dict) else ()))
