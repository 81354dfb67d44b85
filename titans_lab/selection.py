"""Select runs of a store, by id or study, by state, and by a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError, nearest
from titans_lab.run.config import RunConfig, flatten, leaves, plain
from titans_lab.run.derived import DERIVED
from titans_lab.run.run import config_in
from titans_lab.store.files import Damage
from titans_lab.store.folder import Attempt
from titans_lab.store.records import read_study
from titans_lab.store.status import STATES
from titans_lab.store.store import Store
from titans_lab.store.weights import find_run
from titans_lab.study.expression import parse_expression
from titans_lab.study.study import load_study

SQL = """
select run_id, state, seed, tokens, score, loss, host, string_split(trim(error, chr(10)), chr(10))[-1] as error, config
from runs order by run_id"""
Condition = Callable[[RunConfig, int], bool]


@dataclass(frozen=True)
class Filter:
    """The states and the condition that select runs.

    Attributes:
        states: The states to select. Empty: all.
        holds: A function of configuration and seed that says whether a run is selected. None: all are.
    """

    states: frozenset[str] = frozenset()
    holds: Condition | None = None

    @classmethod
    def of(cls, states: str | None, where: str | None) -> Filter:
        """Return the filter of `--state` and `--where`. Raise UserError where one of them is wrong."""
        return cls(_states(states) if states else frozenset(), _condition(where) if where else None)

    def __bool__(self) -> bool:
        return bool(self.states or self.holds)

    def meets(self, state: str, config: RunConfig, seed: int) -> bool:
        """Return whether a run is selected."""
        return (not self.states or state in self.states) and (self.holds is None or self.holds(config, seed))


@dataclass(frozen=True)
class Selection:
    """The selected runs of a store.

    Attributes:
        rows: A dictionary per run: run_id, state, seed, tokens, score, loss, host and the last line of its error.
        damage: The records that could not be read.
    """

    rows: list[dict[str, Any]]
    damage: tuple[Damage, ...]

    @property
    def ids(self) -> list[str]:
        """Return the ids of the selected runs."""
        return [row["run_id"] for row in self.rows]


def select(store: Store, targets: Sequence[str], wanted: Filter) -> Selection:
    """Return the runs that are named and pass the filter.

    Args:
        store: The store.
        targets: Study files, names of studies, and prefixes of runs' ids. Empty: all runs.
        wanted: The filter.

    Raises:
        UserError: A target names nothing in the store.
    """
    from titans_lab.store.query import ask

    answer = ask(store.root, SQL)
    named = {run_id for target in targets for run_id in named_runs(store, target)} if targets else None
    rows = [row for row in answer.table.to_pylist() if named is None or row["run_id"] in named]
    kept = [{name: value for name, value in row.items() if name != "config"} for row in rows if _meets(row, wanted)]
    return Selection(kept, answer.damage)


def named_runs(store: Store, target: str) -> list[str]:
    """Return the ids of the runs of studies as last swept, or of the run whose id begins with `target`.

    Raises:
        UserError: There is no such study or run.
    """
    if records := named_studies(store, target):
        return list(dict.fromkeys(run["run_id"] for path in records for run in read_study(path)["runs"]))
    name = study_name(target)
    if name != target:
        raise UserError(f"{target}: the study {name} was not swept into {store.root}; --store names another store")
    return [find_run(store, target).run_id]


def named_studies(store: Store, target: str) -> list[Path]:
    """Return the records that a name or a study file names: of all variants, unless it is the name of one of them."""
    name, paths = study_name(target), store.study_paths()
    exact = [path for path in paths if path.stem == name]
    if exact and name == target:
        return exact
    return [path for path in paths if name in (path.stem, read_study(path).get("family"))]


def attempt_of(store: Store, prefix: str, number: int | None) -> Attempt:
    """Return an attempt, by default the last, at the run whose id begins with `prefix`.

    Raises:
        UserError: There is no such run or attempt.
    """
    folder = find_run(store, prefix)
    found = {int(path.name): Attempt(path) for path in folder.attempts()}
    if not found:
        raise UserError(f"run {folder.run_id}: has no attempt yet; sweep its study")
    if number is not None and number not in found:
        raise UserError(f"--attempt {number}: run {folder.run_id} has the attempts {', '.join(map(str, found))}")
    return found[number or max(found)]


def study_name(target: str) -> str:
    """Return the name of a study that is given by name or as its file."""
    path = Path(target)
    return load_study(path).name if path.suffix in (".yaml", ".yml") else target


def _meets(row: dict[str, Any], wanted: Filter) -> bool:
    if wanted.holds is None:
        return not wanted.states or row["state"] in wanted.states
    config = config_in(row["config"])
    if config is None or row["seed"] is None:
        return False  # the record is damaged or of another version, which is reported
    return wanted.meets(row["state"], config, row["seed"])


def _states(text: str) -> frozenset[str]:
    states = [word.strip() for word in text.split(",")]
    for state in states:
        if state not in STATES:
            raise UserError(f"--state {text}: {state!r} is not a state; {nearest(state, sorted(STATES))}")
    return frozenset(states)


def _condition(text: str) -> Condition:
    known = leaves()
    names = {key: leaf.hint for key, leaf in known.items()}
    try:
        expression = parse_expression(text, {**names, **dict.fromkeys(DERIVED, float), "seed": int})
    except ValueError as error:
        raise UserError(f"--where: {error}") from error

    def holds(config: RunConfig, seed: int) -> bool:
        values = {"seed": seed, **dict(flatten(plain(config)))}

        def lookup(name: str) -> Any:
            if name in DERIVED:
                return DERIVED[name](config)
            return values[name] if name in values else known[name].default  # a key of a task that the run does not have

        try:
            return expression(lookup)
        except ValueError as error:
            raise UserError(f"--where: {error}") from error

    return holds
