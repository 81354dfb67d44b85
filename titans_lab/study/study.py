"""Studies: a question, a grid of configurations, seeds, and the runs that they come to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from titans_lab.errors import UserError
from titans_lab.study.arms import Search, check_arms, found_metrics
from titans_lab.study.axes import NAMED, assignment
from titans_lab.study.config import DataConfig, RunConfig, TaskConfig
from titans_lab.study.expand import check_spaces, expand, starting_point
from titans_lab.study.hold import Hold
from titans_lab.study.identity import run_id
from titans_lab.study.loader import Node, load
from titans_lab.study.metric import RECORDED, Metric
from titans_lab.study.outline import Problems, outline
from titans_lab.study.overrides import parse_overrides, put, replaced
from titans_lab.study.points import Point
from titans_lab.study.search import check_search
from titans_lab.study.settings import Setting, settings
from titans_lab.study.terms import Budget, Order, check_terms
from titans_lab.study.values import brief

T = TypeVar("T")

NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        run_id: Its name in the store, 16 hexadecimal digits: equal for equal runs of any study.
        config: All that is set for it.
        seed: Of its initial values and batches.
        data_hash: Of its data's content.
        factors: The study's varied keys, dotted, and this run's values; "study" and "arm" hold names.
        solved: What `hold` found for it, by dotted key.
        deviation: From what is held, as a share of it; None: nothing is held.
        baseline: Whether it is of the arm that others are compared with.
    """

    run_id: str
    config: RunConfig
    seed: int
    data_hash: str
    factors: dict[str, Any]
    solved: dict[str, Any] = field(default_factory=dict)
    deviation: float | None = None
    baseline: bool = False

    @property
    def label(self) -> str:
        """What tells it from the study's other runs: "memory.depth=2 seed=0"."""
        factors = (value if key in NAMED else assignment(key, value) for key, value in self.factors.items())
        return " ".join((*factors, f"seed={self.seed}"))


@dataclass(frozen=True)
class Study:
    """A study file, checked.

    Attributes:
        name: Its name in the store; the file's stem unless the file says otherwise.
        path: The file.
        question: What it asks.
        expect: What it is expected to show.
        presets: Names of what all runs start from, the later on top of the earlier.
        base: The values set for all runs, by dotted key.
        grid: The values to combine, by dotted key.
        seeds: Of every combination.
        points: The combinations in order, the last key varying fastest.
        hold: What is equal in all of them.
        metric: What they are compared by, as the task of the first has it; None: the metric of the task.
        order: In which a sweep launches them.
        budget: What a sweep may spend.
        warnings: What is allowed and probably not meant, a line each.
        search: What `titans-lab tune` looks for; None: nothing.
    """

    name: str
    path: Path
    question: str
    expect: str
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

    @cached_property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        """What varies, by dotted key, "study" or "arm", and its values in the order of the runs."""
        values: dict[str, dict[tuple[type, Any], None]] = {}
        for point in self.points:
            for key, value in point.factors.items():
                values.setdefault(key, {})[type(value), value] = None  # True is not 1
        return {key: tuple(value for _, value in found) for key, found in values.items()}

    @property
    def combinations(self) -> int:
        """Points times seeds: more than there are runs where some combinations come to the same run."""
        return len(self.points) * len(self.seeds)

    def runs(self, data_hash: Callable[[RunConfig], str]) -> list[Run]:
        """The distinct runs in order, seeds innermost; of combinations that are the same run, the first.

        Args:
            data_hash: Gives the hash of the content of a configuration's data; asked once for each data and task.

        Raises:
            UserError: Of `data_hash`, with the place of the value that it blames.
        """
        first: dict[tuple[DataConfig, TaskConfig], Point] = {}
        for point in self.points:
            first.setdefault((point.config.data, point.config.task), point)
        hashes = {source: self._answer(data_hash, point) for source, point in first.items()}
        runs: dict[str, Run] = {}
        for point in self.points:
            digest = hashes[point.config.data, point.config.task]
            for seed in self.seeds:
                name = run_id(point.config, seed, digest)
                if name not in runs:
                    held = point.solved, point.deviation, point.baseline
                    runs[name] = Run(name, point.config, seed, digest, point.factors, *held)
                elif point.baseline:
                    runs[name] = replace(runs[name], baseline=True)
        return list(runs.values())

    def check(self, fit: Callable[[RunConfig], None]) -> None:
        """Asks of each distinct configuration whether it fits its data; a UserError has the place of what it blames."""
        for point in {point.config: point for point in self.points}.values():
            self._answer(fit, point)

    def _answer(self, question: Callable[[RunConfig], T], point: Point) -> T:
        try:
            return question(point.config)
        except UserError as error:
            raise point.located(error, str(self.path)) from error

    def launch_order(self, runs: Iterable[Run]) -> list[Run]:
        """Some of its runs as a sweep takes them: as they are listed, or in an order that hangs on the names alone."""
        if self.order == "listed":
            return list(runs)
        return sorted(runs, key=lambda run: hashlib.sha256(f"{self.name} {run.run_id}".encode()).digest())


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Reads and checks a study file.

    Args:
        path: The file.
        overrides: Texts `key=value`: a dotted key of the base, a key of the study, or `grid.<key>` with a list.

    Raises:
        UserError: With a line for each problem: its place, the key and the remedy.
    """
    return read_study(load(path), path, overrides)


def read_study(root: Node, path: Path, overrides: Sequence[str]) -> Study:
    """`load_study` of what `path` would hold."""
    problems = Problems()
    given = parse_overrides(overrides, problems)
    written = outline(replaced(root, given, problems), path, problems)
    put(written, given, problems)
    texts = _texts(written.texts, path, problems)
    terms = check_terms(written.terms, problems)
    spaces = check_spaces(written, problems)
    start = starting_point(written, problems)
    sought = check_search(written.terms["search"], problems) if "search" in written.terms else None
    expanded = expand(written, spaces, start, terms, problems)
    held = Setting(terms.hold, written.terms["hold"].place) if terms.hold else None
    search = check_arms(sought, terms, spaces, expanded.drafts, held, problems) if sought else None
    metrics = _metrics(terms.metric, expanded.points, problems) if terms.metric else ()
    return Study(
        **texts,
        path=path,
        presets=tuple(preset.value for preset in start.presets),
        base={key: setting.value for key, setting in start.base.items()},
        grid={key: spaces[0].values[key] for key in written.block.grid},
        seeds=terms.seeds,
        points=expanded.points,
        hold=terms.hold,
        metric=next(iter(metrics), None),
        order=terms.order,
        budget=terms.budget,
        warnings=(
            *expanded.warnings,
            *(search.unread() if search else ()),
        ),
        search=search,
    )


def _metrics(asked: Setting, points: Sequence[Point], problems: Problems) -> list[Metric]:
    """What arms are compared by, as each of the study's tasks has it. Raises UserError where one of them has it not."""
    tasks = {point.config.task.name: point.config.task.settings for point in points}
    known = [task.metrics() | RECORDED for task in tasks.values()]
    found = [metric for each in known for metric in found_metrics("metric", [asked], each, problems)]
    problems.stop()
    return found


def _texts(nodes: Mapping[str, Node], path: Path, problems: Problems) -> dict[str, str]:
    """The name, question and expectation, as given or by default."""
    given = {key: setting for key, node in nodes.items() for setting in settings(str, key, [node], problems)}
    name = given.get("name", Setting(path.stem, str(path)))
    if not NAME.fullmatch(name.value):
        rule = "set it to at most 100 letters, digits, dots, dashes and underscores, with no dot in front"
        problems.add(name.place, "name", f"{brief(name.value)} cannot name a file of the store; {rule}")
    texts = {key: given[key].value if key in given else "" for key in ("question", "expect")}
    return texts | {"name": name.value}
