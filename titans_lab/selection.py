"""Which runs of a store a verb is about: named by id or study, of some states, under a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError, nearest
from titans_lab.store.files import Damage
from titans_lab.store.folder import Attempt
from titans_lab.store.records import read_study
from titans_lab.store.status import STATES
from titans_lab.store.store import Store
from titans_lab.store.weights import find_run
from titans_lab.study.config import RunConfig, flatten, leaves, plain
from titans_lab.study.derived import DERIVED
from titans_lab.study.expression import parse_expression
from titans_lab.study.run import config_in
from titans_lab.study.study import load_study

SQL = """
select run_id, state, seed, tokens, score, loss, host, string_split(trim(error, chr(10)), chr(10))[-1] as error, config
from runs order by run_id"""
Condition = Callable[[RunConfig, int], bool]


@dataclass(frozen=True)
class Filter:
    """What runs must be to be meant.

    Attributes:
        states: Any of these; empty: all.
        holds: From a configuration and a seed to whether they are meant; None: all.
    """

    states: frozenset[str] = frozenset()
    holds: Condition | None = None

    @classmethod
    def of(cls, states: str | None, where: str | None) -> Filter:
        """From the texts of `--state` and `--where`; UserError."""
        return cls(_states(states) if states else frozenset(), _condition(where) if where else None)

    def __bool__(self) -> bool:
        return bool(self.states or self.holds)

    def meets(self, state: str, config: RunConfig, seed: int) -> bool:
        """Whether a run is meant."""
        return (not self.states or state in self.states) and (self.holds is None or self.holds(config, seed))


@dataclass(frozen=True)
class Selection:
    """Runs of a store.

    Attributes:
        rows: Of each run: run_id, state, seed, tokens, score, loss, host and the last line of its error.
        damage: Records that could not be read.
    """

    rows: list[dict[str, Any]]
    damage: tuple[Damage, ...]

    @property
    def ids(self) -> list[str]:
        """Of its runs."""
        return [row["run_id"] for row in self.rows]


def select(store: Store, targets: Sequence[str], wanted: Filter) -> Selection:
    """The runs that are named, or all, as far as they are wanted.

    Args:
        store: Where.
        targets: Study files, names of studies as they were last swept, and beginnings of runs' ids; none: all runs.
        wanted: What runs must be.

    Raises:
        UserError: Nothing is called so.
    """
    from titans_lab.store.query import ask

    answer = ask(store.root, SQL)
    named = {run_id for target in targets for run_id in named_runs(store, target)} if targets else None
    rows = [row for row in answer.table.to_pylist() if named is None or row["run_id"] in named]
    return Selection([_without_config(row) for row in rows if _meets(row, wanted)], answer.damage)


def named_runs(store: Store, target: str) -> list[str]:
    """The ids of the runs of studies as last swept, or of the run whose id begins so. UserError: no such thing."""
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
    """The last attempt, or that of a number, at the run whose id begins so. UserError: there is none."""
    folder = find_run(store, prefix)
    found = {int(path.name): Attempt(path) for path in folder.attempts()}
    if not found:
        raise UserError(f"run {folder.run_id}: nobody has tried it yet; sweep its study")
    if number is not None and number not in found:
        raise UserError(f"--attempt {number}: run {folder.run_id} has the attempts {', '.join(map(str, found))}")
    return found[number or max(found)]


def study_name(target: str) -> str:
    """The name of a study, given so or as its file."""
    path = Path(target)
    return load_study(path).name if path.suffix in (".yaml", ".yml") else target


def _meets(row: dict[str, Any], wanted: Filter) -> bool:
    if wanted.holds is None:
        return not wanted.states or row["state"] in wanted.states
    config = config_in(row["config"])
    if config is None or row["seed"] is None:
        return False  # the record is damaged or of another version, which is told
    return wanted.meets(row["state"], config, row["seed"])


def _without_config(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "config"}


def _states(text: str) -> frozenset[str]:
    states = [word.strip() for word in text.split(",")]
    for state in states:
        if state not in STATES:
            raise UserError(f"--state {text}: {state!r} is no state; {nearest(state, sorted(STATES))}")
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
            return values[name] if name in values else known[name].default  # of a task that the run does not have

        try:
            return expression(lookup)
        except ValueError as error:
            raise UserError(f"--where: {error}") from error

    return holds
