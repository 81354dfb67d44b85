"""The subject of a report: the runs of a study, of a whole store or of a comparison, up to the time of drawing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from titans_lab.errors import UserError
from titans_lab.report.evidence import listed, quoted
from titans_lab.run.config import TaskConfig, flatten, plain
from titans_lab.run.metric import RECORDED, Direction, Metric, Taken, find
from titans_lab.run.origin import Parent
from titans_lab.run.run import Run, config_in, config_of
from titans_lab.run.values import STUDY
from titans_lab.store.searches import TUNED, tuned_name

if TYPE_CHECKING:
    from titans_lab.store.query import Snapshot
    from titans_lab.study.study import Study

Kind = Literal["study", "store", "comparison"]

DATA_HASH = "data_hash"  # listed with the configuration: it tells runs apart, too
#: Names that no study can have, for they contain spaces.
ALL, COMPARED = "all studies", "comparison of runs"
LATEST = """\
select max(moment) as moment
from (
  select finished as moment from runs union all select finished from evals
  union all select started from benches union all select started from trials
)"""


@dataclass(frozen=True)
class PageScope:
    """The scope of a page, from which it can be drawn anew from the same store.

    Attributes:
        kind: One study, all studies of the store, or a comparison of runs.
        name: The study's name.
        runs: Ids of the runs, in the order of the page.
        former: Ids of the runs that the page names as no longer part of the study.
        drawn: Time of drawing, UTC: no later record is on the page.
    """

    kind: Kind
    name: str
    runs: tuple[str, ...]
    former: tuple[str, ...]
    drawn: datetime

    @property
    def record(self) -> dict[str, Any]:
        """Return the selection as JSON data, from which `read` restores it."""
        return dataclasses.asdict(self) | {"drawn": self.drawn.isoformat()}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> PageScope:
        """Return the selection that `record` was made of; ValueError, KeyError or TypeError for anything else."""
        kinds = get_args(Kind)
        kind, name = kinds[kinds.index(record["kind"])], record["name"]
        runs, former = (tuple(record[key]) for key in ("runs", "former"))
        drawn = datetime.fromisoformat(record["drawn"])
        if not all(isinstance(text, str) for text in (name, *runs, *former)) or drawn.tzinfo:
            raise TypeError
        return cls(kind, name, runs, former, drawn)


@dataclass(frozen=True)
class Subject:
    """The subject of a report.

    Attributes:
        kind: One study, all studies of the store, or a comparison of runs.
        name: The study's name, with its overrides.
        family: The study's name without overrides, which its searches have.
        question: What the study asks.
        expect: What the study was expected to show.
        runs: The runs, in the order of the study, with their configurations as recorded.
        former: Ids of the runs that the last sweep of the study launched and that are not part of it today.
        metric: The figure by which the study compares its arms; None: the task's own.
        drawn: Time of drawing, UTC: no later record is on the page.
        left_out: The number of recorded runs that are not among `runs`, because their configuration cannot be read.
    """

    kind: Kind
    name: str
    family: str
    question: str
    expect: str
    runs: tuple[Run, ...] = field(repr=False)
    former: tuple[str, ...]
    metric: Metric | None
    drawn: datetime
    left_out: int = 0

    @property
    def tuned(self) -> bool:
        """Return whether the arms are a study's after its search, each at its best point."""
        return self.name.endswith(TUNED)

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        """Return the varied keys, dotted, and their values in the order of the runs."""
        values: dict[str, dict[tuple[type, Any], None]] = {}
        for run in self.runs:
            for key, value in run.factors.items():
                values.setdefault(key, {})[type(value), value] = None  # True is not 1
        return {key: tuple(value for _, value in found) for key, found in values.items()}

    @cached_property
    def base(self) -> dict[str, Any]:
        """Return the configuration of the baseline, or else of the first run, by dotted key."""
        base = next((run for run in self.runs if run.baseline), self.runs[0])
        return _values(base)

    def changes(self, run: Run) -> dict[str, Any]:
        """Return the values in which a run's configuration differs from `base`."""
        return {key: value for key, value in _values(run).items() if _differ(value, self.base.get(key))}

    @property
    def selection(self) -> PageScope:
        """Return the runs and the time of drawing that the page is about, as it records them."""
        return PageScope(self.kind, self.name, tuple(run.run_id for run in self.runs), self.former, self.drawn)


def of_study(study: Study, runs: Sequence[Run], snapshot: Snapshot) -> Subject:
    """Return the subject of a report on a study file; runs that the store holds have the configuration recorded.

    A study whose arms were tuned, and of whose own runs none has begun, is reported by its tuned arms.
    """
    ids = [run.run_id for run in runs]
    rows = snapshot.ask(f"select run_id, state, config from runs where run_id in ({listed(ids)})").table.to_pylist()
    if study.search and all(row["state"] == "pending" for row in rows) and tuned_name(study.variant) in swept(snapshot):
        return of_swept(tuned_name(study.variant), snapshot)
    configs = {row["run_id"]: config for row in rows if (config := config_in(row["config"]))}
    launched = snapshot.ask(
        f"select distinct run_id from studies where study = {quoted(study.variant)} order by run_id"
    )
    former = tuple(run_id for run_id in launched.table.column("run_id").to_pylist() if run_id not in set(ids))
    recorded = tuple(replace(run, config=configs.get(run.run_id, run.config)) for run in runs)
    texts = study.variant, study.name, study.question, study.expect
    return Subject("study", *texts, recorded, former, study.metric, _now(snapshot))


def of_swept(name: str, snapshot: Snapshot) -> Subject:
    """Return the subject of a report on a study as its last sweep recorded it; UserError if the store has none."""
    records = [each for each in _studies(snapshot) if each["study"] == name]
    if not records:
        raise UserError(f"study {name}: the store has no record of a sweep of it; name the study file")
    first, runs = records[0], tuple(_stored_run(row) for row in records if row["config"])
    metric = _metric(json.loads(first["metric_asked"]), runs) if first["metric_asked"] else None
    texts = name, first["family"], first["question"] or "", first["expect"] or ""
    return Subject("study", *texts, runs, (), metric, _now(snapshot), _unread(records))


def swept(snapshot: Snapshot) -> list[str]:
    """Return the names of the studies that were swept into a store."""
    rows = snapshot.ask("select distinct study from studies order by study").table.to_pylist()
    return [row["study"] for row in rows]


def of_store(snapshot: Snapshot) -> Subject:
    """Return the subject of a report on a whole store: all of its studies, or the only one.

    Raises:
        UserError: If no study was swept into the store.
    """
    rows = _studies(snapshot)
    names = list(dict.fromkeys(row["study"] for row in rows))
    if not names:
        raise UserError("no study was swept into this store; name a study file, or sweep one")
    if len(names) == 1:
        return replace(of_swept(names[0], snapshot), kind="store")
    runs: dict[str, Run] = {}
    for row in rows:
        if row["config"] and row["run_id"] not in runs:
            run = _stored_run(row)
            name = ": ".join([row["study"], *filter(None, [run.factors.pop(STUDY, "")])])
            runs[run.run_id] = replace(run, factors={STUDY: name} | run.factors)
    return Subject("store", ALL, "", "", "", tuple(runs.values()), (), None, _now(snapshot), _unread(rows))


def of_runs(ids: Sequence[str], snapshot: Snapshot) -> Subject:
    """Return the subject of a comparison of runs, in the order of `ids`.

    The factors are the values in which the configurations differ; runs that differ in their seeds alone are one arm.

    Raises:
        UserError: If the store cannot read the record of one of them.
    """
    rows = {row["run_id"]: row for row in _runs(snapshot, ids)}
    for run_id in ids:
        if not rows.get(run_id, {}).get("config"):
            raise UserError(f"run {run_id}: its record cannot be read, so there is nothing to compare")
    runs = [_stored_run(rows[run_id]) for run_id in dict.fromkeys(ids)]
    subject = Subject("comparison", COMPARED, "", "", "", tuple(runs), (), None, _now(snapshot))
    differing = dict.fromkeys(key for run in runs for key in subject.changes(run))
    named = (replace(run, factors={key: _values(run).get(key) for key in differing}) for run in runs)
    return replace(subject, runs=tuple(named))


def _now(snapshot: Snapshot) -> datetime:
    """Return the present, UTC, or the time of the store's last record if a clock elsewhere is ahead of this one."""
    latest = snapshot.ask(LATEST).table.column("moment").to_pylist()[0]
    now = datetime.now(UTC).replace(tzinfo=None)
    return max(now, latest or now)


def _studies(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the rows of the view `studies` in the order of their records, each with what the store has of its run."""
    rows = snapshot.ask("select * from studies").table.to_pylist()
    runs = {row["run_id"]: row for row in _runs(snapshot, [row["run_id"] for row in rows])}
    return [{"config": None} | runs.get(row["run_id"], {}) | row for row in rows]


def _runs(snapshot: Snapshot, ids: Sequence[str]) -> list[dict[str, Any]]:
    sql = f"select run_id, config, seed, data_hash, parent, steps_before from runs where run_id in ({listed(ids)})"
    rows = snapshot.ask(sql).table.to_pylist()
    return [row | {"config": row["config"] if config_in(row["config"]) else None} for row in rows]


def _unread(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of runs that the store has and whose configuration cannot be read here."""
    return len({row["run_id"] for row in rows if "seed" in row and not row["config"]})


def _stored_run(row: Mapping[str, Any]) -> Run:
    factors, solved = (json.loads(row.get(key) or "{}") for key in ("factors", "solved"))
    more = {"solved": solved, "baseline": bool(row.get("baseline"))}
    config = config_of({"config": json.loads(row["config"])})
    parent = Parent(row["parent"], steps=row["steps_before"]) if row.get("parent") else None
    return Run(row["run_id"], config, row["seed"], row["data_hash"] or "", factors, **more, parent=parent)


def _metric(record: Mapping[str, Any], runs: Sequence[Run]) -> Metric:
    """Return the metric of a record as the task of the runs has it: nothing else of the record becomes SQL."""
    directions, times = get_args(Direction), get_args(Taken)
    task = next((run.config.task for run in runs), TaskConfig()).settings
    try:
        direction, taken = directions[directions.index(record["direction"])], times[times.index(record["taken"])]
        return find(task.metrics() | RECORDED, str(record["name"]), direction, taken)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"metric: the record of the study has one that cannot be read ({error})") from error


def _values(run: Run) -> dict[str, Any]:
    return dict(flatten(plain(run.config))) | {DATA_HASH: run.data_hash}


def _differ(value: Any, other: Any) -> bool:
    return (type(value), value) != (type(other), other)
