"""Studies: a question, a grid of configurations, seeds, and the runs that they come to."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from titans_lab.study.config import RunConfig
from titans_lab.study.identity import read_values, run_id
from titans_lab.study.loader import Node, load
from titans_lab.study.outline import PRESET, Problems, outline, override
from titans_lab.study.validate import (
    Point,
    Setting,
    check_base,
    check_grid,
    check_points,
    check_presets,
    check_seeds,
    check_size,
    settings,
)
from titans_lab.study.values import show

NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        run_id: Its name in the store, 16 hexadecimal digits: equal for equal runs of any study.
        config: All that is set for it.
        seed: Of its initial values and batches.
        data_hash: Of its data's content.
        factors: The study's varied keys, dotted, and this run's values.
    """

    run_id: str
    config: RunConfig
    seed: int
    data_hash: str
    factors: dict[str, Any]

    @property
    def label(self) -> str:
        """What tells it from the study's other runs: "memory.depth=2 seed=0"."""
        factors = (f"{key.partition('.')[2] or key}={_bare(value)}" for key, value in self.factors.items())
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
        warnings: What is allowed and probably not meant, a line each.
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
    warnings: tuple[str, ...] = ()

    @property
    def combinations(self) -> int:
        """Points times seeds: more than there are runs where some combinations come to the same run."""
        return len(self.points) * len(self.seeds)

    def runs(self, data_hash: Callable[[RunConfig], str]) -> list[Run]:
        """The distinct runs in order, seeds innermost; of combinations that are the same run, the first.

        Args:
            data_hash: Gives the hash of the content of a configuration's data; asked once for each data and task.
        """
        distinct = dict.fromkeys((point.config.data, point.config.task) for point in self.points)
        configs = {(point.config.data, point.config.task): point.config for point in self.points}
        hashes = {source: data_hash(configs[source]) for source in distinct}
        runs: dict[str, Run] = {}
        for point in self.points:
            digest = hashes[point.config.data, point.config.task]
            for seed in self.seeds:
                name = run_id(point.config, seed, digest)
                runs.setdefault(name, Run(name, point.config, seed, digest, point.factors))
        return list(runs.values())


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Reads and checks a study file.

    Args:
        path: The file.
        overrides: Texts `key=value`: a dotted key of the base, `seeds`, or `grid.<key>` with a list.

    Raises:
        UserError: With a line for each problem: its place, the key and the remedy.
    """
    return read_study(load(path), path, overrides)


def read_study(root: Node, path: Path, overrides: Sequence[str]) -> Study:
    """`load_study` of what `path` would hold."""
    problems = Problems()
    written = outline(root, problems)
    override(written, overrides, problems)
    texts = _texts(written.texts, path, problems)
    presets = check_presets(written.preset, problems) if written.preset else []
    base = check_base(written.base, problems)
    grid = check_grid(written.grid, problems)
    seeds = check_seeds(written.seeds, problems) if written.seeds else (0,)
    check_size(written.grid, math.prod(map(len, grid.values())), len(seeds), problems)
    problems.stop()
    points = check_points(presets, base, grid, problems)
    problems.stop()
    return Study(
        **texts,
        path=path,
        presets=tuple(preset.value for preset in presets),
        base={key: setting.value for key, setting in base.items()},
        grid={key: tuple(level.value for level in levels) for key, levels in grid.items()},
        seeds=seeds,
        points=points,
        warnings=tuple(_unread(base, grid, points)),
    )


def _texts(nodes: Mapping[str, Node], path: Path, problems: Problems) -> dict[str, str]:
    """The name, question and expectation, as given or by default."""
    given = {key: setting for key, node in nodes.items() for setting in settings(str, key, [node], problems)}
    name = given.get("name", Setting(path.stem, str(path)))
    if not NAME.fullmatch(name.value):
        rule = "set it to at most 100 letters, digits, dots, dashes and underscores, with no dot in front"
        problems.add(name.place, "name", f"{show(name.value)} cannot name a file of the store; {rule}")
    texts = {key: given[key].value if key in given else "" for key in ("question", "expect")}
    return texts | {"name": name.value}


def _unread(
    base: Mapping[str, Setting], grid: Mapping[str, Sequence[Setting]], points: Sequence[Point]
) -> Iterator[str]:
    """A warning for each key that is set and that no combination reads."""
    unread = {key: setting.place for key, setting in base.items()} | {key: grid[key][0].place for key in grid}
    for point in points:
        if not unread:
            return
        for key in unread.keys() & {PRESET, *read_values(point.config)}:
            del unread[key]
    variants = ", ".join(dict.fromkeys(point.config.model.variant for point in points))
    for key, place in unread.items():
        yield f"{place}: {key}: set, and no run of this study reads it (model.variant is {variants}); remove it"


def _bare(value: Any) -> str:
    return value if isinstance(value, str) else show(value)
