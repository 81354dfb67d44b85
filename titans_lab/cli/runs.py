"""The verbs about runs: status, logs and cancel."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from titans_lab.cli.arguments import (
    AsCsv,
    AsJson,
    Overrides,
    States,
    StoreFolder,
    Targets,
    Where,
    load,
    open_store,
    selected,
)
from titans_lab.cli.output import note, print_damage, print_rows, rows_text
from titans_lab.cli.streams import problem
from titans_lab.errors import UserError

if TYPE_CHECKING:
    from titans_lab.selection import Filter
    from titans_lab.store.files import Damage
    from titans_lab.store.store import Store

Rows = tuple[list[dict[str, Any]], Sequence["Damage"]]
WATCH_SECONDS = 2.0
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
    store: StoreFolder = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Show the state of each run of a study, or the number of runs in each state for every study of the store.

    With --state or --where and no study, show the runs of the store that these select.
    """
    from titans_lab.selection import Filter

    records, wanted = open_store(store, there=study is None), Filter.of(states, where)
    look = _look(records, study, overrides, wanted)
    if watch:
        _watch(look, as_csv, as_json)
        return
    rows, damage = look()
    print_damage(damage)
    if not rows:
        note(f"{records.root}: {'no such run' if study or wanted else 'no study was swept into this store'}")
    if rows or as_json:
        print(_text(rows, as_csv, as_json), end="")


def logs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The start of a run's id, as `titans-lab plan` shows it.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print what comes, until the run ends or Ctrl-C.")
    ] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="The number of the attempt. Default: the last.")] = None,
    store: StoreFolder = None,
) -> None:
    """Print what a run's worker wrote, and its metrics, from the run's last attempt."""
    from titans_lab.follow import lines
    from titans_lab.selection import attempt_of

    tried = attempt_of(open_store(store, there=True), run, attempt)
    note(f"run {tried.folder.run_id}, attempt {tried.number}")
    for line in lines(tried, follow):
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
    as_json: AsJson = False,
) -> None:
    """Stop runs on whatever machine after their current step. A later sweep continues them.

    A run that has not begun cannot be cancelled: end the sweep that would start it.
    """
    from titans_lab import control

    records = open_store(store, there=True)
    if not targets and not states and not where:
        raise UserError("cancel: name a study or a run, or give --state running for all")
    rows = selected(records, targets, states, where)
    found = control.cancel(records, rows)
    print_rows(("run_id", "attempt", "host"), (row.values() for row in found.attempts), False, as_json)
    note(f"asked {len(found.attempts)} of {len(rows)} runs to stop")
    if found.waiting:
        note(f"{found.waiting} have not begun: end the sweep that would start them, with Ctrl-C")


def _look(records: Store, study: Path | None, overrides: list[str] | None, wanted: Filter) -> Callable[[], Rows]:
    """Return what to call for the rows as they are now."""
    from titans_lab.selection import select
    from titans_lab.status import damage_of, shown_runs, store_status, study_status

    def of_store() -> Rows:
        if not wanted:
            return store_status(records)
        found = select(records, (), wanted)
        return [{name: row[name] for name in LISTED} for row in found.rows], found.damage

    if study is None:
        return of_store
    loaded, runs = load(study, overrides)

    def of_study() -> Rows:
        shown = shown_runs(loaded, runs, records)
        fit = [run for run in shown if wanted.meets(records.run(run.run_id).state(), run.config, run.seed)]
        return study_status(fit, records), damage_of(fit, records)

    return of_study


def _text(rows: list[dict[str, Any]], as_csv: bool, as_json: bool) -> str:
    """Return the rows; in a table without the columns that are empty."""
    names = list(rows[0]) if rows else []
    if not as_csv and not as_json:
        names = [name for name in names if any(row[name] is not None for row in rows)]
    return rows_text(names, ([row[name] for name in names] for row in rows), as_csv, as_json)


def _watch(look: Callable[[], Rows], as_csv: bool, as_json: bool) -> None:
    """Print the rows whenever they have changed, on a terminal in the same place."""
    in_place, before = sys.stdout.isatty(), None
    try:
        while True:
            rows, _ = look()
            if (text := _text(rows, as_csv, as_json)) != before:
                before = text
                print(f"\x1b[H\x1b[2J{text}" if in_place else f"{text}\n", end="", flush=True)
            if problem() or not any(row.get("state") == "running" or row.get("running") for row in rows):
                return
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return
