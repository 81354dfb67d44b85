"""Read the views of a store as Arrow tables. Damaged records are reported and left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from titans_lab.store import added, arrow
from titans_lab.store.columns import LOGS, RUN_ID, SECTIONS, SHOWN, VIEWS
from titans_lab.store.compacted import OF_RUNS, Compacted
from titans_lab.store.files import Damage, DamagedError
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.logs import read_lines, read_parquet
from titans_lab.store.records import (
    read_bench,
    read_env,
    read_evaluation,
    read_finalists,
    read_ngram_baselines,
    read_run,
    read_search,
    read_status,
    read_study,
    read_trial,
)
from titans_lab.store.searches import SearchFolder, trial_row
from titans_lab.store.status import COMMITTED, FAILED, FINISHED, Status
from titans_lab.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

T = TypeVar("T")
WITH_ARM = ("runs", "metrics", "memory", "evals", "failures")  # views that get the arm of their runs
LARGE = ("metrics", "memory")  # views with a row for every logged step
Row = tuple[Path, dict[str, Any]]  # the file that a row comes from, and its values


@dataclass(frozen=True)
class Found:
    """A run's folder, its state, and its commit if there is one."""

    folder: RunFolder
    state: str
    status: Status | None


@dataclass
class Reader:
    """Reads each record of a store at most once.

    Attributes:
        damage: The damage found so far.
    """

    store: Store
    damage: list[Damage] = field(default_factory=list)

    def table(self, view: str) -> pa.Table:
        """Return the rows of a view, always with all of its columns."""
        import pyarrow as pa

        if view not in OF_RUNS:
            return self._collected(view)
        known = self._of_compacted(lambda compacted: compacted.table(view))
        fresh = self._logged(view) if view in LOGS else self._collected(view)
        return fresh if known is None else pa.concat_tables([known, fresh])

    def scannable(self, view: str) -> pa.Table | ds.Dataset:
        """Return the rows of a view for a database.

        Of a large view only the columns that a statement reads are decoded.
        """
        known = self._of_compacted(lambda compacted: compacted.dataset(view)) if view in LARGE else None
        return self.table(view) if known is None else arrow.together(known, self._logged(view))

    def shown(self, view: str) -> pa.Table | ds.Dataset:
        """Return the rows of a view for a query, without a dataset's arms: see `titans_lab.store.columns.SHOWN`."""
        import pyarrow as pa

        if view == "differences":
            rows = {row["run_id"]: row for row in self.table("runs").to_pylist()}
            return pa.Table.from_pylist(list(added.differences(self.studies, rows)), arrow.schema(SHOWN[view]))
        found = self.scannable(view)
        if not isinstance(found, pa.Table):
            return found
        if view == "studies":
            named = [(study, added.arm_labels(study)) for study in self.studies]
            names = [arms[run["run_id"]] for study, arms in named for run in study["runs"]]
            return added.beside_id(found, pa.array(names, pa.string()))
        if view not in WITH_ARM:
            return found
        named = added.with_arm(found, self.arms)
        return added.with_headline(named) if view == "evals" else named

    @cached_property
    def sound_studies(self) -> list[tuple[Path, dict[str, Any]]]:
        """The records of studies that can be read, by name, read once: one may be removed meanwhile."""
        return list(self._sound(read_study, self.store.study_paths()))

    @property
    def studies(self) -> list[dict[str, Any]]:
        """The records of studies that can be read, by name."""
        return [record for _, record in self.sound_studies]

    @cached_property
    def arms(self) -> dict[str, str]:
        """The name of each run's arm, by the run's id."""
        return added.arms(self.studies)

    @cached_property
    def compacted(self) -> Compacted | None:
        """Return the compaction, or None where there is none that can be read."""
        try:
            return Compacted.load(self.store.root)
        except DamagedError as error:
            self.damage.append(error.damage)
            return None

    @cached_property
    def found(self) -> list[Found]:
        """Return the runs that the compaction does not cover, by id."""
        covered = self.compacted.entries if self.compacted else {}
        runs = self.store.root / "runs"
        return [self._find(RunFolder(runs / run_id)) for run_id in self.store.run_ids() if run_id not in covered]

    def _of_compacted(self, read: Callable[[Compacted], T]) -> T | None:
        """Return what `read` reads from the compaction, or None where that fails.

        Then all runs are read from folders.
        """
        if self.compacted is None:
            return None
        try:
            return read(self.compacted)
        except DamagedError as error:
            self.damage.append(error.damage)
            self.__dict__.update(compacted=None)
            self.__dict__.pop("found", None)
            return None

    def _collected(self, view: str) -> pa.Table:
        """Return the rows of a view whose records hold plain values."""
        read = {
            "runs": self._runs,
            "evals": self._later,
            "failures": self._failures,
            "studies": self._studies,
            "ngram_baselines": self._ngram_baselines,
            "benches": self._benches,
            "trials": self._trials,
            "finalists": self._finalists,
        }
        rows, problems = list(read[view]()), list[tuple[int, str]]()
        table = arrow.collect([values for _, values in rows], VIEWS[view], lambda *found: problems.append(found))
        self.damage += [Damage(rows[number][0], problem) for number, problem in sorted(problems, key=itemgetter(0))]
        return table

    def _find(self, folder: RunFolder) -> Found:
        status = self._read(read_status, folder.commit_path())
        state = status.state if status else folder.state()
        if status is None and state in COMMITTED:  # the run ended between the two reads
            return self._find(folder)
        return Found(folder, state, status)

    def _runs(self) -> Iterator[Row]:
        for found in self.found:
            begun = found.state != "pending"
            record = self._read(read_run, found.folder.record_path, required=begun)
            if record is None and not begun:
                continue  # its folder was just made, or its record is damaged, which is reported
            yield found.folder.record_path, self._run(found, record or {})

    def _run(self, found: Found, record: dict[str, Any]) -> dict[str, Any]:
        status = found.status
        latest = None if status else found.folder.latest()
        config = record.get("config")
        sections = config if isinstance(config, dict) else {}
        env = status.env if status else self._live_env(latest)
        summary = status.summary if status else {}
        return {
            **env,
            **summary,
            **record,
            **{section.name: sections.get(section.name) for section in SECTIONS},
            "run_id": found.folder.run_id,
            "state": found.state,
            "attempt": status.attempt if status else latest and latest.number,
            "config": _json(config),
            "versions": _json(record.get("versions")),
            "plugins": _json(record.get("plugins")),
            "env": _json(env or None),
            "finished": status and status.finished,
            "error": _error(found.folder.latest() if found.state not in FINISHED else None, status),
        }

    def _live_env(self, latest: Attempt | None) -> dict[str, Any]:
        return (self._read(read_env, latest.env_path) if latest else None) or {}

    def _failures(self) -> Iterator[Row]:
        for found in self.found:
            for path in found.folder.attempts():
                attempt = Attempt(path)
                status = self._commit(found, attempt)
                if (status.state if status else "lost") in FAILED and (status or not self._lives(found, attempt)):
                    yield attempt.path, self._failure(attempt, status)

    def _commit(self, found: Found, attempt: Attempt) -> Status | None:
        """Return the commit of an attempt, or None where there is none that can be read."""
        if found.status and found.status.attempt == attempt.number:
            return found.status
        return self._read(read_status, attempt.status_path) or self._read(read_status, attempt.archived_path)

    def _lives(self, found: Found, attempt: Attempt) -> bool:
        latest = found.folder.latest()
        return found.state == "running" and latest is not None and latest.number == attempt.number

    def _failure(self, attempt: Attempt, status: Status | None) -> dict[str, Any]:
        env = status.env if status else self._live_env(attempt)
        error = (_error(attempt, status) or "").strip()
        return {
            "run_id": attempt.folder.run_id,
            "attempt": attempt.number,
            "state": status.state if status else "lost",
            "message": error.splitlines()[-1] if error else None,
            "error": error or None,
            "host": env.get("host"),
            "job": env.get("job"),
            "started": env.get("started"),
            "finished": status and status.finished,
        }

    def _logged(self, log: str) -> pa.Table:
        """Return the rows of a log of all runs. Those of `evals` include later evaluations."""
        import pyarrow as pa

        read = [(found.folder.run_id, self._run_logged(found, log)) for found in self.found]
        parts = [(run_id, rows) for run_id, rows in read if rows is not None]
        rows = pa.concat_tables([arrow.schema(LOGS[log]).empty_table(), *(rows for _, rows in parts)])
        counts = [len(rows) for _, rows in parts]
        rows = rows.add_column(0, RUN_ID.name, arrow.repeated([run_id for run_id, _ in parts], counts))
        return pa.concat_tables([rows, self._collected("evals")]) if log == "evals" else rows

    def _later(self) -> Iterator[Row]:
        for found in self.found:
            for path, record in self._sound(read_evaluation, found.folder.evaluation_paths()):
                whose = {RUN_ID.name: found.folder.run_id, "evaluation": path.stem, "finished": record.get("finished")}
                for row in record["rows"]:
                    yield path, {**row, **whose}

    def _run_logged(self, found: Found, log: str) -> pa.Table | None:
        if found.status is None:
            latest = found.folder.latest()
            return self._live_logged(latest, log) if latest else None
        name = found.status.log_file(log)
        if name is None:
            return None
        digest, folder = found.status.files[name], found.folder
        return self._read(lambda _: read_parquet(folder.committed_path(name), LOGS[log], digest), folder.path / name)

    def _live_logged(self, attempt: Attempt, log: str) -> pa.Table | None:
        lines = self._read(partial(read_lines, columns=LOGS[log]), attempt.lines_path(log))
        if lines is None:
            return None
        rows, damage = lines
        self.damage += damage
        return arrow.table(rows, LOGS[log])

    def _studies(self) -> Iterator[Row]:
        for path, record in self.sound_studies:
            for run in record["runs"]:
                values = {"factors": _json(run.get("factors")), "overrides": _json(record.get("overrides"))}
                values["solved"] = _json(run.get("solved"))
                values["metric_asked"] = _json(record.get("metric"))
                yield (
                    path,
                    {
                        **record,
                        **run,
                        **values,
                        "study": record["name"],
                        "family": record.get("family") or record["name"],
                    },
                )

    def _ngram_baselines(self) -> Iterator[Row]:
        for path, record in self._sound(read_ngram_baselines, self.store.ngram_baseline_paths()):
            for context, bits in record["bits_per_byte"].items():
                split = record.get("split") or "valid"  # those from before the two were told apart
                yield path, {**record, "split": split, "context": int(context), "bits_per_byte": bits}

    def _benches(self) -> Iterator[Row]:
        for path, record in self._sound(read_bench, self.store.bench_paths()):
            for row in record["rows"]:
                values = {name: _json(row.get(name)) for name in ("seconds", "config")}
                values["versions"] = _json(record.get("versions"))
                yield path, {**record, **row, **values}

    def _trials(self) -> Iterator[Row]:
        for folder, what in self._searches():
            names = [name for name, _, _ in what["objectives"]]
            for path, trial in self._sound(read_trial, folder.trial_paths()):
                yield path, what | trial_row(trial, names)

    def _finalists(self) -> Iterator[Row]:
        for folder, what in self._searches():
            for path, record in self._sound(read_finalists, [folder.finalists_path]):
                for run in record["runs"]:
                    yield path, {**what, **run, "params": _json(run["params"])}

    def _searches(self) -> Iterator[tuple[SearchFolder, dict[str, Any]]]:
        """Yield each search and the columns that all of its rows share."""
        for folder in self.store.searches():
            what = self._read(read_search, folder.definition_path, required=True)
            if what is not None:
                name, figure, direction = what["objectives"][0]
                directions = _json({name: direction for name, _, direction in what["objectives"]})
                shared = {"metric": name, "figure": figure, "direction": direction, "directions": directions}
                yield folder, {**what, "search": folder.name, **shared}

    def _sound(self, read: Callable[[Path], T], paths: Iterable[Path]) -> Iterator[tuple[Path, T]]:
        """Yield the paths and contents of the records that can be read."""
        for path in paths:
            record = self._read(read, path)
            if record is not None:
                yield path, record

    def _read(self, read: Callable[[Path], T], path: Path, required: bool = False) -> T | None:
        try:
            return read(path)
        except FileNotFoundError:
            if required:
                self.damage.append(Damage(path, "is missing"))
            return None
        except DamagedError as error:
            self.damage.append(error.damage)
            return None


def _error(attempt: Attempt | None, status: Status | None) -> str | None:
    """Return the error that an attempt committed, and what a cluster says about its end."""
    parts = (status and status.error, attempt and attempt.explained())
    return "\n".join(part for part in parts if part) or None


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
