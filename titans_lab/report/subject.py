"""What a report is about: a study as its file says, or as the store remembers it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

from titans_lab.errors import UserError
from titans_lab.report.evidence import listed, quoted
from titans_lab.report.pinned import Pinned, pinned
from titans_lab.study.axes import STUDY
from titans_lab.study.config import RunConfig, TaskConfig
from titans_lab.study.fields import build, plain
from titans_lab.study.identity import flatten
from titans_lab.study.metric import RECORDED, Direction, Metric, Taken, find
from titans_lab.study.record import config_of
from titans_lab.study.study import Run

if TYPE_CHECKING:
    from titans_lab.store.query import Snapshot
    from titans_lab.study.study import Study

DATA_HASH = "data_hash"  # stands among the values of a configuration, as what else tells runs apart
STORED = """\
select study, question, expect, metric_asked, run_id, baseline, factors, config, seed, data_hash
from studies left join runs using (run_id)
order by study, config, seed"""
ALL = "all studies"  # the name of what a whole store of several studies is


@dataclass(frozen=True)
class Subject:
    """What a report is about.

    Attributes:
        name: Of the study.
        question: What it asks.
        expect: What it was expected to show.
        runs: In its order.
        combinations: Points times seeds: more than runs where some are the same.
        former: Runs that its last sweep launched and that are not of it as it stands today.
        pinned: What else of the store it is about.
        metric: By which its arms are compared; None: by the task's.
    """

    name: str
    question: str
    expect: str
    runs: tuple[Run, ...] = field(repr=False)
    combinations: int
    former: tuple[str, ...] = ()
    pinned: Pinned = field(default_factory=Pinned)
    metric: Metric | None = None

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        """What varies, by dotted key, and its values in the order of the runs."""
        values: dict[str, dict[tuple[type, Any], None]] = {}
        for run in self.runs:
            for key, value in run.factors.items():
                values.setdefault(key, {})[type(value), value] = None  # True is not 1
        return {key: tuple(value for _, value in found) for key, found in values.items()}

    @cached_property
    def base(self) -> dict[str, Any]:
        """The configuration that others are shown as differences to, by dotted key: the baseline's, else the first."""
        base = next((run for run in self.runs if run.baseline), self.runs[0])
        return _values(base)

    def changes(self, run: Run) -> dict[str, Any]:
        """The values in which a run's configuration differs from `base`."""
        return {key: value for key, value in _values(run).items() if _differ(value, self.base.get(key))}

    @property
    def record(self) -> dict[str, Any]:
        """As plain data, from which `remembered` makes it again."""
        texts = {"name": self.name, "question": self.question, "expect": self.expect}
        counts = {"combinations": self.combinations, "former": list(self.former), "pinned": self.pinned.record}
        runs = [self._run_record(run) for run in self.runs]
        counts |= {"metric": dataclasses.asdict(self.metric)} if self.metric else {}
        return texts | counts | {"base": self.base if runs else {}, "runs": runs}

    def _run_record(self, run: Run) -> dict[str, Any]:
        facts = {"run_id": run.run_id, "seed": run.seed, "factors": run.factors, "changes": self.changes(run)}
        facts |= {"baseline": True} if run.baseline else {}
        return facts | ({"solved": run.solved} if run.solved else {})


def of_study(study: Study, runs: Sequence[Run], snapshot: Snapshot) -> Subject:
    """A study as its file says, beside what the store remembers of its last sweep."""
    rows = snapshot.ask(f"select distinct run_id from studies where study = {quoted(study.name)} order by run_id")
    mine = {run.run_id for run in runs}
    former = tuple(run_id for run_id in rows.table.column("run_id").to_pylist() if run_id not in mine)
    more = pinned(runs, snapshot, study.name)
    texts = study.name, study.question, study.expect
    return Subject(*texts, tuple(runs), study.combinations, former, more, study.metric)


def of_store(snapshot: Snapshot) -> Subject:
    """All that was swept into a store: its study, or all of them, told apart by their names."""
    rows = snapshot.ask(STORED).table.to_pylist()
    names = list(dict.fromkeys(row["study"] for row in rows))
    if not names:
        raise UserError("no study was swept into this store; name a study file, or sweep one")
    distinct: dict[str, Run] = {}
    for row in rows:
        if row["config"]:
            distinct.setdefault(row["run_id"], _stored_run(row, len(names) > 1))
    runs = tuple(distinct.values())
    if len(names) > 1:
        return Subject(ALL, "", "", runs, len(rows), pinned=pinned(runs, snapshot, None))
    texts = rows[0]["question"] or "", rows[0]["expect"] or ""
    asked = rows[0]["metric_asked"]
    more, metric = pinned(runs, snapshot, names[0]), _metric(json.loads(asked), runs) if asked else None
    return Subject(names[0], *texts, runs, len(rows), pinned=more, metric=metric)


def of_runs(ids: Sequence[str], snapshot: Snapshot) -> Subject:
    """Runs of any studies, in this order, told apart by the values in which they differ; seeds of one are one arm."""
    columns = "run_id, config, seed, data_hash, false as baseline, null as factors"
    sql = f"select {columns} from runs where run_id in ({listed(ids)})"
    rows = {row["run_id"]: row for row in snapshot.ask(sql).table.to_pylist()}
    unknown = [run_id for run_id in ids if not rows.get(run_id, {}).get("config")]
    if unknown:
        raise UserError(f"run {unknown[0]}: its record cannot be read, so there is nothing to compare")
    runs = [_stored_run(rows[run_id], False) for run_id in dict.fromkeys(ids)]
    subject = Subject("compare", "", "", tuple(runs), len(runs))
    differing = dict.fromkeys(key for run in runs for key in subject.changes(run))
    told = [replace(run, factors={key: _values(run).get(key) for key in differing}) for run in runs]
    return replace(subject, runs=tuple(told), pinned=pinned(runs, snapshot, None))


def remembered(record: Mapping[str, Any]) -> Subject:
    """What `Subject.record` was made of; ValueError, KeyError or TypeError where it is something else."""
    runs = tuple(_remembered_run(each, record["base"]) for each in record["runs"])
    name, question, expect = (str(record[key]) for key in ("name", "question", "expect"))
    former, more = tuple(map(str, record["former"])), Pinned.remembered(record["pinned"])
    metric = _metric(record["metric"], runs) if "metric" in record else None
    return Subject(name, question, expect, runs, int(record["combinations"]), former, more, metric)


def _metric(record: Mapping[str, Any], runs: Sequence[Run]) -> Metric:
    """Return the metric of a record as the task of the runs has it: nothing else of the record becomes SQL.

    Raises:
        ValueError, KeyError, TypeError: The record is none of a metric, or runs of the task record no such metric.
    """
    directions, times = get_args(Direction), get_args(Taken)
    direction, taken = directions[directions.index(record["direction"])], times[times.index(record["taken"])]
    task = next((run.config.task for run in runs), TaskConfig()).settings
    return find(task.metrics() | RECORDED, str(record["name"]), direction, taken)


def _remembered_run(facts: Mapping[str, Any], base: Mapping[str, Any]) -> Run:
    values = {**base, **facts["changes"]}
    data_hash = str(values.pop(DATA_HASH))
    config, solved = build(RunConfig, values), facts.get("solved", {})
    more = {"solved": solved, "baseline": bool(facts.get("baseline"))}
    return Run(str(facts["run_id"]), config, int(facts["seed"]), data_hash, dict(facts["factors"]), **more)


def _stored_run(row: Mapping[str, Any], several: bool) -> Run:
    factors = json.loads(row["factors"] or "{}")
    if several:
        factors = {STUDY: ": ".join([row["study"], *filter(None, [factors.pop(STUDY, "")])])} | factors
    config = config_of({"config": json.loads(row["config"])})
    return Run(row["run_id"], config, row["seed"], row["data_hash"] or "", factors, baseline=bool(row["baseline"]))


def _values(run: Run) -> dict[str, Any]:
    return dict(flatten(plain(run.config))) | {DATA_HASH: run.data_hash}


def _differ(value: Any, other: Any) -> bool:
    return (type(value), value) != (type(other), other)
