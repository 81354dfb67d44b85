"""Find the parents of runs: the arms that `init` names, in their own study or in another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from titans_lab.errors import UserError, listed, nearest
from titans_lab.run.config import DataConfig, RunConfig, TaskConfig
from titans_lab.run.identity import run_id
from titans_lab.run.origin import Parent
from titans_lab.run.run import Run
from titans_lab.run.values import NAMED, assignment, endings, label

MOST_NAMED = 6  # arms that a message names


class StudyPoint(Protocol):
    """A combination of a study, as far as its runs' parents are concerned: see `titans_lab.study.point.Point`."""

    @property
    def factors(self) -> dict[str, Any]:
        """Return the varied keys and their values."""

    @property
    def config(self) -> RunConfig:
        """Return the configuration."""

    @property
    def solved(self) -> dict[str, Any]:
        """Return the values that `hold` found."""

    @property
    def deviation(self) -> float | None:
        """Return the deviation from the held cost."""

    @property
    def baseline(self) -> bool:
        """Return whether others are compared with it."""

    def located(self, error: UserError, file: str) -> UserError:
        """Return the error with the place of the value that causes it."""


class Family(Protocol):
    """A study, as far as its runs' parents are concerned."""

    @property
    def path(self) -> Path:
        """Return the study file."""

    @property
    def points(self) -> tuple[StudyPoint, ...]:
        """Return the combinations."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds of every combination."""


class Lineage:
    """The runs of a study and of the studies that their parents belong to, each of which is read once.

    Args:
        study: The study.
        data_hash: A function that returns the hash of a configuration's data. It is called once per data and task.
        load: A function that reads a study file.
    """

    def __init__(self, study: Family, data_hash: Callable[[RunConfig], str], load: Callable[[Path], Family]) -> None:
        self._data_hash, self._load = data_hash, load
        self._studies = {study.path.resolve(): study}
        self._hashes: dict[tuple[DataConfig, TaskConfig], str] = {}
        self._runs: dict[tuple[int, int], Run] = {}
        self._line: dict[tuple[int, int], str] = {}  # the runs whose parents are looked for now, and their names

    def run(self, study: Family, point: StudyPoint, seed: int) -> Run:
        """Return the run of a combination and a seed.

        Raises:
            UserError: Its data cannot be read, or its parent is not to be found. The message has the place of the wrong
                value.
        """
        key = id(point), seed
        if key not in self._runs:
            try:
                self._runs[key] = self._traced(study, point, seed, key)
            except UserError as error:
                raise point.located(error, str(study.path)) from error
        return self._runs[key]

    def _traced(self, study: Family, point: StudyPoint, seed: int, key: tuple[int, int]) -> Run:
        name = f"{label(point.factors)} seed={seed}".lstrip()
        if key in self._line:
            circle = [*list(self._line.values())[list(self._line).index(key) :], name]
            raise UserError(f"init.arm: a run would begin with its own weights: {' <- '.join(circle)}; name another")
        self._line[key] = name
        parent = self._parent(study, point, seed)
        del self._line[key]
        digest = self._digest(point.config)
        held = point.solved, point.deviation, point.baseline
        own = run_id(point.config, seed, digest, parent.run_id if parent else None)
        return Run(own, point.config, seed, digest, point.factors, *held, parent)

    def _digest(self, config: RunConfig) -> str:
        source = config.data, config.task
        if source not in self._hashes:
            self._hashes[source] = self._data_hash(config)
        return self._hashes[source]

    def _parent(self, study: Family, point: StudyPoint, seed: int) -> Parent | None:
        init = point.config.init
        if init.run:
            return Parent(init.run, steps=0 if init.weights_only else None)
        if not init:
            return None
        there = self._study(study, init.study) if init.study else study
        wanted = seed if init.seed is None else init.seed
        if wanted not in there.seeds:
            has = f"{there.path} has the seeds {listed([str(each) for each in there.seeds])}"
            raise UserError(f"init.seed: there is no parent with seed {wanted}: {has}; set init.seed, or seeds")
        run = self.run(there, _chosen(there, point), wanted)
        if there is study:
            _check_kept(run.config, init.weights_only)
        return Parent(run.run_id, "" if there is study else str(there.path), 0 if init.weights_only else _steps(run))

    def _study(self, study: Family, name: str) -> Family:
        path = study.path.parent / name
        if path.suffix not in (".yaml", ".yml"):
            raise UserError(f"init.study: {name!r} is not a study file; write its path from the folder of this study")
        whole = path.resolve()
        if whole not in self._studies:
            try:
                self._studies[whole] = self._load(path)
            except UserError as error:
                raise UserError(f"init.study: {error}") from error
        return self._studies[whole]


def _chosen(study: Family, child: StudyPoint) -> StudyPoint:
    """Return the combination of a study that a child's `init` means."""
    arm = child.config.init.arm
    names = _Names(study.points)
    found = [(point, keys) for point in study.points if (keys := names.meant(point, arm)) is not None]
    if not found:
        known = list(dict.fromkeys(name for point in study.points for name in names.of(point)))
        raise UserError(f"init.arm: {arm!r} is no arm of {study.path}; {nearest(str(arm), known)}")
    alike = [point for point, keys in found if len(found) == 1 or _agree(point.factors, child.factors, keys)]
    configs = {point.config: point for point in alike}
    if len(configs) == 1:
        return alike[0]
    arms = [label(point.factors) for point, _ in found]
    more = f" and {len(arms) - MOST_NAMED} more" if len(arms) > MOST_NAMED else ""
    which = f"{len(alike)} of them have" if alike else "none of them has"
    raise UserError(
        f"init.arm: {'stands for' if arm is None else f'{arm!r} means'} {len(arms)} arms of {study.path} "
        f"({', '.join(arms[:MOST_NAMED])}{more}), and {which} the other values of {label(child.factors) or 'the run'}; "
        "name one by all of its values"
    )


class _Names:
    """The names of a study's arms: of each factor alone, and of all together."""

    def __init__(self, points: Sequence[StudyPoint]) -> None:
        self._ends = endings({key for point in points for key in point.factors})

    def of(self, point: StudyPoint) -> Iterator[str]:
        """Yield the names of a combination."""
        yield from (name for name, _ in self._pairs(point.factors))

    def meant(self, point: StudyPoint, arm: str | None) -> frozenset[str] | None:
        """Return the factors that a name is made of, or None where it is not one of a combination's names."""
        if arm is None:
            return frozenset()
        return next((keys for name, keys in self._pairs(point.factors) if name == arm), None)

    def _pairs(self, factors: Mapping[str, Any]) -> Iterator[tuple[str, frozenset[str]]]:
        for key, value in factors.items():
            texts = [value] if key in NAMED else [assignment(key, value), assignment(self._ends[key], value)]
            yield from ((text, frozenset({key})) for text in texts)
        yield label(factors), frozenset(factors)
        yield label({self._ends[key]: value for key, value in factors.items()}), frozenset(factors)


def _agree(one: Mapping[str, Any], other: Mapping[str, Any], without: frozenset[str]) -> bool:
    """Return whether two combinations have the same values of the factors that both have, but for some."""
    shared = (one.keys() & other.keys()) - without
    return all(one[key] == other[key] for key in shared if not key.startswith("init."))


def _steps(parent: Run) -> int | None:
    """Return the optimiser steps that are behind a run's end, or None where they are not known before it."""
    before, train = parent.parent.steps if parent.parent else 0, parent.config.train
    return None if before is None or train.patience else before + train.steps


def _check_kept(parent: RunConfig, weights_only: bool) -> None:
    """Refuse a parent of the same study that will not keep what its children need."""
    if not parent.log.weights:
        raise UserError("init.arm: its runs do not keep their weights; set log.weights to true for them")
    if not weights_only and not parent.log.keep_state:
        raise UserError("init.weights_only: the parent does not keep its state; set log.keep_state to true for it")
