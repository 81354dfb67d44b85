"""The verbs about runs: status, logs and cancel."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from titans_lab.cli.arguments import (
    Form,
    Overrides,
    States,
    StoreFolder,
    Targets,
    Where,
    load,
    open_store,
    selected,
)
from titans_lab.cli.clusters import cancel_workers, note_workers
from titans_lab.cli.output import note, print_damage, print_rows, rows_text
from titans_lab.cli.screens import SHORT_ID, Wide, screen_text
from titans_lab.cli.streams import has_reader, problem
from titans_lab.durations import spell_duration
from titans_lab.errors import UserError
from titans_lab.quantities import plural
from titans_lab.tables import TextFormat, plain, shown

if TYPE_CHECKING:
    from titans_lab.run.run import Run
    from titans_lab.selection import Filter
    from titans_lab.store.files import Damage
    from titans_lab.store.store import Store
    from titans_lab.study.study import Study

WATCH_SECONDS = 2.0
REST = 4.0  # how many times as long as a look the pause after it is at least: a store of many runs may be on a server
STORE_COUNTS = ("done", "running", "diverged", "failed", "cancelled", "missing")
LISTED = ("run_id", "state", "seed", "tokens", "score", "loss", "host", "error")


def status(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="A study file. Default: every study of the store.")
    ] = None,
    overrides: Overrides = None,
    states: States = None,
    where: Where = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again every 2 seconds, until nothing runs or Ctrl-C.")
    ] = False,
    wide: Wide = False,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Show the state of each run of a study, or the number of runs in each state for every study of the store.

    With --state or --where and no study, show the runs of the store that these select.
    """
    from titans_lab.selection import Filter

    records, wanted = open_store(store, there=study is None), Filter.of(states, where)
    loaded = load(study, overrides) if study else None
    if loaded:
        note_workers(records, *loaded)
    look = _look(records, loaded, wanted)
    if watch:
        _watch(look, wide, form)
        return
    found = look(wide)
    print_damage(found.damage)
    if not found.rows:
        note(f"{records.root}: {'no such run' if study or wanted else 'no study was swept into this store'}")
    if found.rows or form == "json":
        print(found.text(wide, form), end="")


def logs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The start of a run's id, as `titans-lab plan` shows it.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines until the run ends or Ctrl-C.")
    ] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="The number of the attempt. Default: the last.")] = None,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Print what a run's worker wrote, and its metrics, from the run's last attempt.

    --format csv, json and md have the metrics alone, with the names of the view metrics.
    """
    from titans_lab.follow import lines, metrics
    from titans_lab.selection import attempt_of

    tried = attempt_of(open_store(store, there=True), run, attempt)
    note(f"run {tried.folder.run_id}, attempt {tried.number}")
    if form != "table":
        if follow:
            raise UserError(f"logs: --follow prints lines as they come, and --format {form} needs all rows; give one")
        print_rows(*metrics(tried), form)
        return
    for line in lines(tried, follow, has_reader):
        print(line, flush=follow)
        if problem():  # nobody reads
            return
    if commit := tried.status():
        note(f"{commit.state}{': ' + commit.error.splitlines()[-1] if commit.error else ''}")


def cancel(
    targets: Targets = None,
    states: States = None,
    where: Where = None,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Stop runs, on any machine, after their current step. A later sweep continues them.

    A study's workers on a cluster are cancelled, too, unless --state or --where selects some of its runs.
    A run that has not begun cannot be cancelled: end the sweep that would start it.
    """
    from titans_lab import control

    records = open_store(store, there=True)
    if not targets and not states and not where:
        raise UserError("cancel: name a study or a run, or give --state running for all")
    rows = selected(records, targets, states, where)
    found = control.cancel(records, rows)
    print_rows(("run_id", "attempt", "host"), (row.values() for row in found.attempts), form)
    note(f"asked {len(found.attempts)} of {plural(len(rows), 'run')} to stop")
    if targets and not states and not where:
        cancel_workers(records, targets)
    if found.waiting:
        note(f"{found.waiting} have not begun: end the sweep that would start them, with Ctrl-C")


@dataclass(frozen=True)
class Shown:
    """The content of `status`.

    Attributes:
        rows: A row for each run or study, for programs.
        damage: What could not be read.
        columns: The cells of the table, those that matter most first.
        row: What a row is about.
        summary: How many runs are in each state, and the time left.
    """

    rows: list[dict[str, Any]]
    damage: Sequence[Damage]
    columns: dict[str, list[str]]
    row: str
    summary: str

    def text(self, wide: bool, form: TextFormat) -> str:
        """Return all of it as it is printed."""
        if form != "table":
            names = list(self.rows[0]) if self.rows else []
            return rows_text(names, (row.values() for row in self.rows), form)
        return screen_text(self.columns, wide, self.row) + f"\n{self.summary}\n" if self.rows else ""

    @property
    def runs_on(self) -> bool:
        """Return whether any run is running."""
        return any(row.get("state") == "running" or row.get("running") for row in self.rows)


def _look(records: Store, loaded: tuple[Study, list[Run]] | None, wanted: Filter) -> Callable[[bool], Shown]:
    """Return what to call for the runs or studies as they are now; its argument says whether ids are shown in full."""
    if loaded is None:
        return partial(_selected, records, wanted) if wanted else partial(_of_store, records)
    return partial(_of_study, records, *loaded, wanted)


def _of_store(records: Store, wide: bool) -> Shown:
    from titans_lab.status import OF_SEARCH, store_status, totals

    rows, damage = store_status(records)
    searches = sum(row["study"].endswith(OF_SEARCH) for row in rows)
    named = plural(len(rows) - searches, "study", "studies") + (
        f", {plural(searches, 'search', 'searches')}" if searches else ""
    )
    names = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
    columns = {name.replace("_", " "): [shown(row[name]) for row in rows] for name in names}
    counts = {name: sum(row[name] for row in rows) for name in (rows[0] if rows else ()) if name in STORE_COUNTS}
    return Shown(rows, damage, columns, "study", f"{named}, {totals(counts)}")


def _selected(records: Store, wanted: Filter, wide: bool) -> Shown:
    from titans_lab.selection import select
    from titans_lab.status import totals

    found = select(records, (), wanted)
    rows = [plain({name: row[name] for name in LISTED}) for row in found.rows]
    columns = {name.replace("_", " "): [shown(row[name]) for row in rows] for name in LISTED}
    return Shown(rows, found.damage, _filled(columns), "run", totals(Counter(row["state"] for row in rows)))


def _of_study(records: Store, study: Study, runs: list[Run], wanted: Filter, wide: bool) -> Shown:
    from titans_lab.status import damage_of, seconds_left, shown_runs, study_columns, study_status, totals

    stand = shown_runs(study, runs, records)
    fit = [run for run in stand if wanted.meets(records.run(run.run_id).state(), run.config, run.seed)]
    rows = plain(study_status(fit, records))
    columns = study_columns(fit, rows, None if wide else SHORT_ID)
    left = seconds_left(fit, rows)
    ending = f"; about {spell_duration(left)} left" if left is not None else ""
    summary = totals(Counter(row["state"] for row in rows)) + ending
    return Shown(rows, damage_of(fit, records), columns, "run", summary)


def _filled(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the columns that have anything in them."""
    return {name: cells for name, cells in columns.items() if any(cell != "-" for cell in cells)}


def _watch(look: Callable[[bool], Shown], wide: bool, form: TextFormat) -> None:
    """Print the rows whenever they have changed, on a terminal in the same place."""
    in_place, before = sys.stdout.isatty(), None
    try:
        while True:
            begun = time.monotonic()
            found = look(wide)
            looked = time.monotonic() - begun
            if (text := found.text(wide, form)) != before:
                before = text
                print(f"\x1b[H\x1b[2J{text}" if in_place else f"{text}\n", end="", flush=True)
            if problem() or not found.runs_on:
                return
            time.sleep(max(WATCH_SECONDS, REST * looked))
    except KeyboardInterrupt:
        return
