"""Studies: a question, a grid of configurations, seeds, and the runs that follow from them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig, leaves
from titans_lab.run.derived import KEYS as SOLVED
from titans_lab.run.derived import QUANTITIES, SOLVED_BY, Hold
from titans_lab.run.identity import read_values
from titans_lab.run.metric import COSTS, RECORDED, Metric, find
from titans_lab.run.run import Run, parents_first
from titans_lab.run.values import label
from titans_lab.study.document import Document, load_plugins, read_document
from titans_lab.study.grammar import KEYS, language, study_name, variant_name
from titans_lab.study.lineage import Lineage
from titans_lab.study.loader import from_plain, load
from titans_lab.study.point import Held, Point, built, hold_equal, late_names, points_of, sift
from titans_lab.study.reading import Node, Problems, Setting
from titans_lab.study.sieve import Sieve
from titans_lab.study.space import Axis, Choice, Level, Space, space_of
from titans_lab.study.terms import Budget, Dimension, Order, SearchTerms

T = TypeVar("T")


@dataclass(frozen=True)
class Study:
    """A study file, checked.

    Attributes:
        name: The name in the store, by default the file's stem.
        path: The study file.
        question: The question of the study.
        expect: The expected result.
        effect: The smallest difference in the metric that is worth finding, or None where it is not given.
        presets: The names of the presets. Later ones override earlier ones.
        base: The values set for all runs, by dotted key.
        grid: The values to combine, by dotted key.
        seeds: The seeds of every combination.
        points: The combinations in order, with the last key varying fastest.
        hold: The cost that is equal in all combinations.
        metric: The metric that compares the arms. None: the task's metric.
        order: The order in which a sweep launches runs.
        budget: The budget of a sweep.
        warnings: Probable mistakes, a line each.
        search: The search of `titans-lab tune`. None: the study has none.
        overrides: The texts `key=value` that it was loaded with.
    """

    name: str
    path: Path
    question: str
    expect: str
    effect: float | None
    presets: tuple[str, ...]
    base: dict[str, Any]
    grid: dict[str, tuple[Any, ...]]
    seeds: tuple[int, ...]
    points: tuple[Point, ...] = field(repr=False)
    hold: Hold | None
    metric: Metric | None
    order: Order
    budget: Budget
    warnings: tuple[str, ...]
    search: Search | None = None
    overrides: tuple[str, ...] = ()

    @property
    def variant(self) -> str:
        """Return the name of the study with its overrides, under which a sweep records it and a report is written.

        Without overrides it is the study's own name. Other overrides give another name.
        """
        return variant_name(self.name, self.overrides)

    @cached_property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        """Return the varied keys, dotted, "study" or "arm", and their values in the order of the runs."""
        values: dict[str, dict[tuple[type, Any], None]] = {}
        for point in self.points:
            for key, value in point.factors.items():
                values.setdefault(key, {})[type(value), value] = None  # True is not 1
        return {key: tuple(value for _, value in found) for key, found in values.items()}

    @property
    def combinations(self) -> int:
        """Return points times seeds. There are fewer runs if some combinations are the same run."""
        return len(self.points) * len(self.seeds)

    def runs(self, data_hash: Callable[[RunConfig], str]) -> list[Run]:
        """Return the distinct runs in order, with seeds varying fastest.

        Args:
            data_hash: A function that returns the hash of a configuration's data. It is called once per data and task.

        Raises:
            UserError: `data_hash` raised it, or the parent of a run is not to be found. The message has the place of
                the wrong value.
        """
        lineage = Lineage(self, data_hash, load_study)
        runs: dict[str, Run] = {}
        for point in self.points:
            for seed in self.seeds:
                run = lineage.run(self, point, seed)
                known = runs.setdefault(run.run_id, run)
                if point.baseline and not known.baseline:
                    runs[run.run_id] = replace(known, baseline=True)
        return list(runs.values())

    def check(self, fit: Callable[[RunConfig], None]) -> None:
        """Check each distinct configuration by `fit`. A UserError gets the place of the wrong value."""
        for point in {point.config: point for point in self.points}.values():
            self._answer(fit, point)

    def _answer(self, question: Callable[[RunConfig], T], point: Point) -> T:
        try:
            return question(point.config)
        except UserError as error:
            raise point.located(error, str(self.path)) from error

    def launch_order(self, runs: Iterable[Run]) -> list[Run]:
        """Return runs in the order in which a sweep launches them: each behind the run that it begins with."""
        listed = list(runs)
        if self.order != "listed":
            listed.sort(key=lambda run: hashlib.sha256(f"{self.name} {run.run_id}".encode()).digest())
        return parents_first(listed)

    def record(self, runs: Sequence[Run]) -> dict[str, Any]:
        """Return the study's record for the store, as plain data."""
        return {
            "name": self.variant,
            "family": self.name,
            "path": str(self.path),
            "question": self.question,
            "expect": self.expect,
            "overrides": list(self.overrides),
            "metric": self.metric and dataclasses.asdict(self.metric),
            "runs": [
                {"run_id": run.run_id, "factors": run.factors, "solved": run.solved, "baseline": run.baseline}
                for run in runs
            ],
        }


@dataclass(frozen=True)
class SearchArm:
    """An arm of a study that has a search: it makes the combinations with values of the search's parameters.

    Attributes:
        base: The combination without the search.
        parameters: The parameters of the search.
        metrics: The objectives.
        held: The cost that is equal in all arms.
        proxied: The places of the keys whose values trials have in the place of the study's.
    """

    base: Point
    parameters: tuple[Dimension, ...] = field(repr=False)
    metrics: tuple[Metric, ...]
    held: Held | None = None
    proxied: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """Return the values in which it differs from other arms, or "" where it is the only one."""
        return label(self.base.factors)

    def lookup(self, name: str) -> Any:
        """Return the value of a key where the search does not set it."""
        return self.base.lookup(name)

    def point(self, values: Mapping[str, Any]) -> Point:
        """Return the combination with some values of the parameters.

        Raises:
            UserError: The combination is no configuration, or a rule of the study leaves it out.
        """
        problems, sieve = Problems(), Sieve()
        places = {**self.proxied, **{dimension.key: dimension.place for dimension in self.parameters}}
        chosen = Level({key: Setting(value, places[key]) for key, value in values.items()}, dict(values))
        drawn = Axis((chosen,), {key: places[key] for key in values})
        space = replace(self.base.space, axes=(*self._levels(), drawn))
        late = late_names(self.held)
        fixed = self.base.factors.items()
        found = [each for each in built([space], 1, late, sieve, problems) if fixed <= each.factors.items()]
        if self.held:
            found = hold_equal(found, self.held, [self._target] * len(found), problems)
            problems.stop()
        for each in sift(found, late, sieve, problems):
            return replace(each, baseline=self.base.baseline)
        for place in sieve.removed:
            problems.add(place, "search", "a rule of the study leaves this combination out")
        problems.stop()
        raise UserError(f"{self.label}: a condition of the study leaves this arm out")

    @property
    def _target(self) -> int:
        """Return the held cost of the arm without the search."""
        assert self.held is not None
        cost = QUANTITIES[self.held.hold.what](self.base.config)
        return round(cost / (1 + (self.base.deviation or 0.0)))

    def _levels(self) -> Iterator[Axis]:
        """Yield the axes of the study, each with only the arm's level."""
        for axis in self.base.space.axes:
            levels = [level for level in axis.levels if level.factors.items() <= self.base.factors.items()]
            yield replace(axis, levels=tuple(levels[:1]))


@dataclass(frozen=True)
class Search:
    """The search of a study, and the arms that it tunes separately."""

    terms: SearchTerms
    arms: tuple[SearchArm, ...]

    def unread(self) -> Iterator[str]:
        """Yield a warning for each parameter without a condition that no arm reads."""
        read = {key for arm in self.arms for key in read_values(arm.base.config)}
        for dimension in self.terms.space:
            if dimension.key not in read and dimension.when is None:
                at = f"{dimension.place}: search.space.{dimension.key}"
                yield f"{at}: no arm reads it as the base is; say when it exists, or remove it"


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read and check a study file, and return its study.

    Args:
        path: The file.
        overrides: Texts `key=value`: a dotted key of the base, a key of the study, or `grid.<key>` with a list.

    Raises:
        UserError: The study is wrong. The message has a line for each problem: its place, the key and the remedy.
    """
    return read_study(load(path), path, overrides)


def study_of(content: Mapping[str, Any], overrides: Sequence[str] = ()) -> Study:
    """Return the study whose file would have this content. Relative paths are from the working directory.

    Args:
        content: Keys and values as in a study file. Lists may be tuples or numpy arrays.
        overrides: Texts `key=value`, as for `load_study`.

    Raises:
        UserError: The study is wrong, or it has no name.
    """
    name = content.get("name")
    if not isinstance(name, str):
        raise UserError("study: name: missing; a study that is no file needs a name for its records, such as 'depth'")
    return read_study(from_plain(content, "study"), Path(name), overrides)


def read_study(root: Node, path: Path, overrides: Sequence[str]) -> Study:
    """Return the study of a parsed file: the document becomes spaces, and these become points."""
    problems = Problems()
    load_plugins(root, path, overrides)  # first, since plugins add keys to the language
    document = read_document(root, path, overrides, KEYS, language(), problems)
    defaults = {key: leaf.default for key, leaf in leaves().items()}
    spaces = [space_of(name, block, defaults, problems) for name, block in document.blocks().items()]
    start = Choice(defaults, document.block.presets, document.block.base)
    seeds = document.value("seeds", (0,))
    held = Held(document.given["hold"].value, document.given["hold"].place) if "hold" in document.given else None
    name = _name(document, path, problems)
    points, warnings = points_of(spaces, len(seeds), document.given.get("baseline"), held, start, problems)
    search = _search(document, spaces, points, held, problems)
    metric = _metric(document.given.get("metric"), points, problems)
    return Study(
        name=name,
        path=path,
        question=document.value("question", ""),
        expect=document.value("expect", ""),
        effect=document.value("effect"),
        presets=tuple(preset.value for preset in start.presets),
        base={key: setting.value for key, setting in start.base.items()},
        grid={key: tuple(each.value for each in levels.value) for key, levels in document.block.grid.items()},
        seeds=seeds,
        points=tuple(points),
        hold=held.hold if held else None,
        metric=metric,
        order=document.value("order", "listed"),
        budget=document.value("budget", Budget()),
        warnings=(*warnings, *_one_step(points), *(search.unread() if search else ())),
        search=search,
        overrides=tuple(overrides),
    )


def _one_step(points: Sequence[Point]) -> Iterator[str]:
    """Yield a warning where runs end after their first step, as where a study's tokens override a preset's recipe."""
    trains = [point.config.train for point in points if point.config.train.steps == 1]
    if trains:
        size = max(train.batch_size * train.seq_len for train in trains)
        runs = "every combination trains" if len(trains) == len(points) else f"{len(trains)} combinations train"
        yield f"train.tokens: {runs} for one step of {size:,} tokens (train.batch_size x train.seq_len); raise it"


def _name(document: Document, path: Path, problems: Problems) -> str:
    if "name" in document.given:
        return str(document.value("name"))
    try:
        return study_name(path.stem)
    except ValueError as error:
        problems.add(str(path), "name", error)
        return path.stem


def _metric(asked: Setting | None, points: Sequence[Point], problems: Problems) -> Metric | None:
    """Return the metric that compares arms, which every task of the study must have."""
    tasks = {point.config.task.name: point.config.task.settings for point in points}
    found = [_found("metric", asked, task.metrics() | RECORDED, problems) for task in tasks.values() if asked]
    problems.stop()
    return found[0] if found else None


def _search(
    document: Document, spaces: Sequence[Space], points: Sequence[Point], held: Held | None, problems: Problems
) -> Search | None:
    """Return the search of a study. The keys of its space must not be varied or solved for elsewhere."""
    terms: SearchTerms | None = document.value("search")
    if terms is None:
        return None
    if any(point.config.init for point in points):
        problems.add(terms.place, "search", "its runs cannot begin with the weights of another run; remove init")
    varied = {key: place for space in spaces for key, place in space.varied_keys().items()}
    own = {f"search.space.{dimension.key}": (dimension.key, dimension.place) for dimension in terms.space}
    own |= {f"search.proxy.{key}": (key, setting.key_place) for key, setting in terms.proxy.items()}
    for at, (key, place) in own.items():
        if key in varied:
            problems.add(place, at, f"varied already at {varied[key]}; keep one of them")
        if held and key in held.hold.keys:
            others = [way for way in SOLVED_BY[held.hold.what] if SOLVED[way] != key]
            remedy = f"hold by {' or '.join(others)}, or remove it here" if others else "remove it here"
            problems.add(place, at, f"hold would solve for it; {remedy}")
    asked = document.given.get("metric")
    usual = (replace(asked, value=asked.value | {"taken": "final"}),) if asked else ()
    arms, proxied = [], {key: setting.place for key, setting in terms.proxy.items()}
    for point in points:
        task = point.config.task.settings
        known = task.metrics() | RECORDED | COSTS
        found = [_found("search.metric", each, known, problems) for each in terms.metric or usual]
        arms.append(SearchArm(point, terms.space, tuple(filter(None, found)) or (task.METRIC,), held, proxied))
    problems.stop()
    return Search(terms, tuple(arms))


def _found(key: str, asked: Setting, known: Mapping[str, Metric], problems: Problems) -> Metric | None:
    try:
        return find(known, **asked.value)
    except ValueError as error:
        problems.add(asked.place, key, error)
        return None
