"""Verbs about runs: how far they are, what they say, and their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from titans_lab.cli.arguments import (
    AsCsv,
    AsJson,
    FailFast,
    MaxParallel,
    Overrides,
    PerDevice,
    States,
    StoreFolder,
    Targets,
    Timeout,
    Verify,
    Where,
    load,
    open_store,
)
from titans_lab.cli.streams import problem
from titans_lab.errors import UserError

if TYPE_CHECKING:
    from titans_lab.selection import Filter
    from titans_lab.store.files import Damage
    from titans_lab.store.folder import Attempt
    from titans_lab.store.store import Store

Rows = tuple[list[dict[str, Any]], Sequence["Damage"]]
WATCH_SECONDS, FOLLOW_SECONDS = 2.0, 0.3
LISTED = ("run_id", "state", "seed", "tokens", "score", "loss", "host", "error")


def status(
    study: Annotated[Path | None, typer.Argument(metavar="STUDY", help="A study file; else all of the store.")] = None,
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
    """Show how far a study's runs are, or how many runs of each study in the store are in which state.

    With --state or --where but no study, the runs of the store that fit.
    """
    from titans_lab.cli.output import print_rows
    from titans_lab.selection import Filter

    records, wanted = open_store(store, there=study is None), Filter.of(states, where)
    look = _look(records, study, overrides, wanted)
    if watch:
        _watch(look, as_csv, as_json)
        return
    rows, damage = look()
    tell(damage)
    if not rows:
        none = "no such run" if study or wanted else "no study was swept into this store"
        typer.echo(f"{records.root}: {none}", err=True)
    if rows or as_json:
        print_rows(list(rows[0]) if rows else (), (row.values() for row in rows), as_csv, as_json)


def logs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The start of a run's id, as `titans-lab plan` shows it.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends, or Ctrl-C.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="Number of an earlier attempt; else the last.")] = None,
    store: StoreFolder = None,
) -> None:
    """Print what a run's worker wrote, and its metrics, of the last attempt."""
    from titans_lab.selection import attempt_of

    records = open_store(store, there=True)
    tried = attempt_of(records, run, attempt)
    typer.echo(f"run {tried.folder.run_id}, attempt {tried.number}", err=True)
    tails = [_tail(tried.log_path, lambda line: line), _tail(tried.metrics_path, _metrics)]
    while True:
        ended = not follow or not _lives(tried)
        for tail in tails:
            tail(ended)
        if ended or problem():
            break
        time.sleep(FOLLOW_SECONDS)
    if commit := tried.status():
        typer.echo(f"{commit.state}{': ' + commit.error.splitlines()[-1] if commit.error else ''}", err=True)


def cancel(
    targets: Targets = None,
    states: States = None,
    where: Where = None,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Ask running runs, on whatever machine, to end after the step that they are at; a later sweep goes on with them.

    Runs that have not begun cannot be cancelled so: end the sweep that would start them.
    """
    from titans_lab.cli.output import print_rows

    records = open_store(store, there=True)
    if not targets and not states and not where:
        raise UserError("cancel: name a study, a run, or --state running for all")
    chosen = selected(records, targets, states, where)
    asked = []
    for row in chosen:
        latest = records.run(row["run_id"]).latest()
        if row["state"] == "running" and latest:
            latest.ask_to_stop("cancelled", "titans-lab cancel")
            asked.append({"run_id": row["run_id"], "attempt": latest.number, "host": row["host"]})
    print_rows(("run_id", "attempt", "host"), (row.values() for row in asked), False, as_json)
    waiting = sum(row["state"] in ("pending", "lost") for row in chosen)
    typer.echo(f"asked {len(asked)} of {len(chosen)} runs to stop", err=True)
    if waiting:
        typer.echo(f"{waiting} have not begun: end the sweep that would start them, with Ctrl-C", err=True)


def rerun(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A study file.")],
    overrides: Overrides = None,
    states: Annotated[
        str,
        typer.Option("--state", metavar="STATE,...", help="Which runs; done and diverged ones too, if named."),
    ] = "failed,oom,timeout,cancelled,pruned,lost",
    where: Where = None,
    store: StoreFolder = None,
    max_parallel: MaxParallel = None,
    per_device: PerDevice = 1,
    timeout: Timeout = None,
    fail_fast: FailFast = False,
    verify: Verify = True,
    as_json: AsJson = False,
) -> None:
    """Run those runs of a study again that ended in some states; a result that one of them has is kept in its folder.

    Where there are such runs, all that is missing of the study is swept then; exit codes are those of sweep.
    """
    from titans_lab.cli.output import FAILED
    from titans_lab.cli.studies import Launch, launch
    from titans_lab.selection import Filter

    loaded, runs = load(study, overrides)
    records, wanted = open_store(store), Filter.of(states, where)
    before = {run.run_id: records.run(run.run_id).state() for run in runs}
    again = [run for run in runs if wanted.meets(before[run.run_id], run.config, run.seed)]
    if again:
        typer.echo(f"{loaded.name}: {len(again)} of {len(runs)} runs again", err=True)
    else:
        fit = f"{states.replace(',', ', ')}{f' where {where}' if where else ''}"
        typer.echo(f"{loaded.name}: nothing to run again: none of {len(runs)} runs is {fit}", err=True)
    how = Launch(max_parallel, per_device, timeout, fail_fast, verify)
    whole = not again or launch(loaded, runs, overrides or [], records, how, again)
    if as_json:
        _print_swept(before if again else {}, {run.run_id for run in again}, records)
    if not whole:
        raise typer.Exit(FAILED)


def _print_swept(before: dict[str, str], again: set[str], records: Store) -> None:
    """The runs that a sweep had to do, with their state before and now, as JSON."""
    from titans_lab.cli.output import print_rows
    from titans_lab.store.status import FINISHED

    swept = [run_id for run_id, state in before.items() if run_id in again or state not in FINISHED]
    rows = ((run_id, before[run_id], records.run(run_id).state()) for run_id in swept)
    print_rows(("run_id", "was", "state"), rows, as_csv=False, as_json=True)


def selected(records: Store, targets: list[str] | None, states: str | None, where: str | None) -> list[dict[str, Any]]:
    """The rows of the runs that are meant; what could not be read is told."""
    from titans_lab.selection import Filter, select

    found = select(records, targets or (), Filter.of(states, where))
    tell(found.damage)
    return found.rows


def tell(damage: Sequence[Damage]) -> None:
    """Say on stderr what could not be read."""
    for each in damage:
        typer.echo(f"warning: {each}", err=True)


def _look(records: Store, study: Path | None, overrides: list[str] | None, wanted: Filter) -> Callable[[], Rows]:
    """What to call for the rows as they are now."""
    from titans_lab.selection import select
    from titans_lab.status import damage_of, store_status, study_status

    if study is None:
        return lambda: _listed(select(records, (), wanted)) if wanted else store_status(records)
    runs = load(study, overrides)[1]

    def look() -> Rows:
        fit = [run for run in runs if wanted.meets(records.run(run.run_id).state(), run.config, run.seed)]
        return study_status(fit, records), damage_of(fit, records)

    return look


def _listed(selection: Any) -> Rows:
    return [{name: row[name] for name in LISTED} for row in selection.rows], selection.damage


def _watch(look: Callable[[], Rows], as_csv: bool, as_json: bool) -> None:
    """On a terminal in place, elsewhere one after the other where something has changed."""
    import io
    import sys
    from contextlib import redirect_stdout

    from titans_lab.cli.output import print_rows

    shown, before = sys.stdout.isatty(), None
    try:
        while True:
            rows, _ = look()
            with redirect_stdout(io.StringIO()) as text:
                print_rows(list(rows[0]) if rows else (), (row.values() for row in rows), as_csv, as_json)
            if text.getvalue() != before:
                before = text.getvalue()
                typer.echo(f"\x1b[H\x1b[2J{before}" if shown else before, nl=not shown)
            if problem() or not any(row.get("state") == "running" or row.get("running") for row in rows):
                return
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _lives(attempt: Attempt) -> bool:
    return attempt.status() is None and attempt.claim.seems_alive()


def _tail(path: Path, form: Callable[[str], str]) -> Callable[[bool], None]:
    """What to call to print the lines that are new in a file, with what may follow the last one where it has ended."""
    place = 0

    def print_new(ended: bool) -> None:
        nonlocal place
        if not path.exists():
            return
        with path.open("rb") as lines:
            lines.seek(place)
            content = lines.read()
        whole = content if ended else content[: content.rfind(b"\n") + 1]
        place += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            typer.echo(form("".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in line)))

    return print_new


def _metrics(line: str) -> str:
    """A line of metrics for people."""
    from titans_lab.store.logs import row_of

    row = row_of(line.encode())
    if row is None:
        return f"(damaged) {line}"
    return "  ".join(f"{name} {value:.6g}" for name, value in row.items() if value is not None)
