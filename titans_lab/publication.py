"""A finding: a study's folder with its records and what follows from them, which anybody can check from a clone.

results/<finding>/study.yaml      the study
                  runs.tar.gz     the records of its runs and of its searches, without weights
                  report.html     the report, whose figures are drawn by a script that all findings share
                  report.md       the report in Markdown
                  tables/*.csv    its tables, as raw numbers
results/plotly-cartesian.min.js   the shared script

Everything but the study follows from the archive, so a finding is checked without its data and without a store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from titans_lab.errors import UserError
from titans_lab.report import page
from titans_lab.report.bundle import SHARED, plotly_js
from titans_lab.report.check import check as check_page
from titans_lab.report.evidence import listed
from titans_lab.report.formats import all_tables, to_csv, to_markdown
from titans_lab.report.render import Report, report, write
from titans_lab.report.subject import of_swept, swept
from titans_lab.run.run import portable, portable_path
from titans_lab.store import archive
from titans_lab.store.files import write_json
from titans_lab.store.query import Snapshot
from titans_lab.store.records import read_ngram_baselines, read_search, read_study, read_trial
from titans_lab.store.searches import tuned_name
from titans_lab.store.store import Store
from titans_lab.study.study import Study, load_study

STUDY, RUNS, PAGE, TEXT, TABLES = "study.yaml", "runs.tar.gz", "report.html", "report.md", "tables"


@dataclass(frozen=True)
class Finding:
    """The folder of a finding."""

    path: Path

    def study(self) -> Study:
        """Return the study. Raise UserError where the folder has none."""
        if not (self.path / STUDY).is_file():
            raise UserError(f"{self.path}: has no {STUDY}; name a folder with the study of a finding")
        return load_study(self.path / STUDY)

    def collect(self, store: Store) -> int:
        """Write the archive from the runs and searches that a store has of the study, and return the number of runs.

        Raises:
            UserError: The store has no run of it with a result, or the archive cannot be written.
        """
        name = self.study().name
        studies = [name, tuned_name(name), f"{name}.finalists"]
        runs = set(_ids(Snapshot(store.root), studies))
        for search in store.searches():
            if read_search(search.definition_path)["study"] == name:
                runs |= {run_id for path in search.trial_paths() for run_id in _runs_of(path)}
        done = sorted(run_id for run_id in runs if store.run(run_id).status())
        if not done:
            raise UserError(
                f"{self.path / STUDY}: the store at {store.root} has no result of it; sweep or tune it first"
            )
        with tempfile.TemporaryDirectory(prefix="titans-lab-") as folder:
            path, staged = Path(folder) / RUNS, Store(Path(folder) / "results")
            archive.export(store, done, studies, path, weights=False)
            if refused := archive.bring(staged, path).refused:
                raise UserError(f"{store.root}: {refused[0]}; mend the store first: titans-lab doctor")
            for run in staged.folders():
                write_json(run.record_path, portable(run.record()))
            for study in staged.study_paths():
                write_json(study, (record := read_study(study)) | {"path": portable_path(record["path"])})
            for baseline in staged.ngram_baseline_paths():
                record = read_ngram_baselines(baseline)
                write_json(baseline, {**record, "data_source": portable_path(record["data_source"])})
            archive.export(staged, done, None, self.path / RUNS)
        return len(done)

    def draw(self) -> list[Path]:
        """Write what follows from the archive, and return the files. Raise UserError without a sound archive."""
        with self._store() as store:
            files = _files(_report(self.study(), store))
        for stale in (self.path / TABLES).glob("*.csv"):
            if f"{TABLES}/{stale.name}" not in files:
                stale.unlink()
        return [write(content, self.path / name) for name, content in files.items()]

    def differences(self) -> list[str]:
        """Return the differences of the files from what the archive gives, a line each.

        Raises:
            UserError: There is no sound archive, or no report.
        """
        with self._store() as store:
            found = check_page(self.path / PAGE, store.root)
            if found.note:
                return [f"{self.path / PAGE}: {found.note}; draw it again: titans-lab publish {self.path} --redraw"]
            lines = [f"{self.path / PAGE}: {line}" for line in found.differences]
            assert found.drawn or lines
            files = _files(found.drawn) if found.drawn else {}
        for name, content in files.items():
            place = self.path / name
            theirs = place.read_bytes() if place.is_file() else None
            if theirs != content and not (name == PAGE and lines):
                lines.append(f"{place}: {'missing' if theirs is None else 'not what the archive gives'}")
        return lines

    @contextmanager
    def _store(self) -> Iterator[Store]:
        """Import the archive into a store that exists for a while."""
        with tempfile.TemporaryDirectory(prefix="titans-lab-") as folder:
            store = Store(Path(folder) / "results")
            found = archive.bring(store, self.path / RUNS)
            if found.refused:
                raise UserError(f"{self.path / RUNS}: {found.refused[0]}; collect the runs again")
            yield store


def _report(study: Study, store: Store) -> Report:
    """Return the report on the tuned arms of a study, or else on the study as it was swept."""
    snapshot = Snapshot(store.root)
    tuned = tuned_name(study.name)
    return report(of_swept(tuned if tuned in swept(snapshot) else study.name, snapshot), snapshot)


def _files(drawn: Report) -> dict[str, bytes]:
    """Return the content of each file that follows from a report, by its place in the folder."""
    texts = {PAGE: page(drawn, shared=True), TEXT: to_markdown(drawn), SHARED: plotly_js()}
    texts |= {f"{TABLES}/{name}.csv": to_csv(table) for name, _, table in all_tables(drawn)}
    return {name: text.encode(errors="replace") for name, text in texts.items()}


def _ids(snapshot: Snapshot, studies: list[str]) -> list[str]:
    rows = snapshot.ask(f"select distinct run_id from studies where study in ({listed(studies)})")
    return [str(run_id) for run_id in rows.table.column("run_id").to_pylist()]


def _runs_of(path: Path) -> list[str]:
    return list(read_trial(path)["runs"])
