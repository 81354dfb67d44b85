"""Verbs that keep a store in order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from titans_lab.cli.arguments import AsJson, States, StoreFolder, Targets, Where, open_store
from titans_lab.cli.output import FAILED
from titans_lab.cli.runs import selected
from titans_lab.errors import UserError

if TYPE_CHECKING:
    from titans_lab.store.store import Store


def compact(
    remove: Annotated[bool, typer.Option("--remove", help="Delete what was compacted; nothing is lost.")] = False,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Copy the rows of finished runs into a file for each view, so that queries over thousands of them stay fast.

    A sweep does this by itself where it pays. Runs that change afterwards are read from their folders.
    """
    from titans_lab.store import compaction
    from titans_lab.store.store import writing

    records = open_store(store, there=True)
    with writing(records):
        if remove:
            compaction.remove(records)
            return
        done = compaction.compact(records)
    if as_json:
        _print_done(vars(done))
        return
    typer.echo(f"{done.runs} runs with a result, {done.added} of them new, in {done.size / 1e6:.1f} MB")


def compact_many(store: Store) -> None:
    """Compact a store in which many runs are read one by one; where that fails queries stay slow, no more."""
    from titans_lab.store import compaction

    try:
        if compaction.worthwhile(store):
            done = compaction.compact(store)
            typer.echo(f"compacted {done.runs} runs, so that queries stay fast", err=True)
    except OSError as error:
        typer.echo(f"note: {store.root} was not compacted ({error.strerror}); queries take longer", err=True)


def rm(
    targets: Targets = None,
    states: States = None,
    where: Where = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Move runs, or a study and those of its runs that no other study has, into the store's trash.

    Nothing is deleted: what is moved back is there again.
    """
    from titans_lab.store.store import writing

    records = open_store(store, there=True)
    if not targets and not states and not where:
        raise UserError("rm: name a study or a run, or give --state or --where")
    rows, kept = _removable(records, targets or [], selected(records, targets, states, where))
    paths = [records.run(row["run_id"]).path for row in rows]
    if not states and not where:
        paths += _study_records(records, targets or [])
    if kept:
        typer.echo(f"{kept} runs stay: another study has them too, or they are running", err=True)
    if not paths:
        typer.echo("nothing to remove", err=True)
        if as_json:
            _print_moved([], kept, None)
        return
    if not yes and not sys.stdin.isatty():
        raise UserError("rm: nobody is there to be asked; give --yes")
    if not yes and not typer.confirm(f"Move {len(rows)} runs of {records.root} into its trash?", err=True):
        raise typer.Exit(FAILED)
    begun = [path for path in paths if path.parent.name == "runs" and records.run(path.name).state() == "running"]
    moved = [path for path in paths if path not in begun]
    with writing(records):
        trash = records.set_aside(moved, "trash")
    if begun:
        typer.echo(f"{len(begun)} runs stay: a sweep has begun them meanwhile", err=True)
    if as_json:
        _print_moved(moved, kept + len(begun), trash)
        return
    gone = len(rows) - len(begun)
    typer.echo(f"{gone} runs are in {trash}; to be rid of them for good: rm -r {records.root / 'trash'}")


def _print_moved(paths: Sequence[Path], kept: int, trash: Path | None) -> None:
    """What went to the trash, as JSON."""
    named = {kind: [path.stem for path in paths if path.parent.name == kind] for kind in ("runs", "studies")}
    _print_done({**named, "kept": kept, "trash": trash and str(trash)})


def _print_done(facts: dict[str, Any]) -> None:
    """What was done, as JSON."""
    from titans_lab.cli.output import print_rows

    print_rows(list(facts), [facts.values()], as_csv=False, as_json=True)


def export(
    targets: Targets = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The archive.")] = Path("store.tar.gz"),
    states: States = None,
    where: Where = None,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write a store, or some of its runs and studies, as one archive, for `titans-lab import` on any machine."""
    from titans_lab.selection import study_name
    from titans_lab.store import archive

    records = open_store(store, there=True)
    rows = selected(records, targets, states, where)
    ready = [row["run_id"] for row in rows if row["state"] != "running"]
    studies = [study_name(target) for target in targets] if targets else None
    files = archive.export(records, ready, studies, output)
    if left := len(rows) - len(ready):
        typer.echo(f"{left} runs are left out: they are running", err=True)
    if as_json:
        _print_done({"archive": str(output), "runs": ready, "files": files, "left_out": left})
    else:
        typer.echo(f"{output}: {len(ready)} runs, {files} files")


def import_(
    path: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="What `titans-lab export` wrote.")],
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Put the runs and studies of an archive into the store, checked by their checksums; a result is never replaced.

    Exit code 3: a record is there already and differs, or is not sound. It is left out, and the rest is imported.
    """
    from titans_lab.store.archive import bring
    from titans_lab.store.store import writing

    records = open_store(store)
    with writing(records):
        found = bring(records, path)
    if as_json:
        _print_done(vars(found))
    else:
        typer.echo(f"{len(found.added)} added, {len(found.same)} there already, {len(found.conflicts)} in conflict")
    for name in found.conflicts:
        typer.echo(f"conflict: {records.root / name} is there and differs, or is running; it stays as it is", err=True)
    for words in found.refused:
        typer.echo(f"refused: {words}; it was left out, and the rest is imported", err=True)
    if found.conflicts or found.refused:
        raise typer.Exit(FAILED)


def _removable(records: Store, targets: list[str], rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The runs that may go, and how many of those that are meant stay."""
    from titans_lab.selection import named_runs, study_name

    studies = {path.stem for path in records.study_paths()}
    named = {study_name(target) for target in targets} & studies
    others = {run_id for name in studies - named for run_id in named_runs(records, name)} if named else set()
    own = {run_id for target in targets if study_name(target) not in named for run_id in named_runs(records, target)}
    free = [row for row in rows if row["state"] != "running" and (row["run_id"] in own or row["run_id"] not in others)]
    return free, len(rows) - len(free)


def _study_records(records: Store, targets: list[str]) -> list[Path]:
    """Of the studies among the targets."""
    from titans_lab.selection import study_name

    names = {study_name(target) for target in targets}
    return [path for path in records.study_paths() if path.stem in names]


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", "--quarantine", help="Move what cannot be used into the store's quarantine.")
    ] = False,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Look for what is damaged in the store, and for what this machine lacks. Changes nothing without --fix.

    Exit code 3: something was found.
    """
    import json

    from titans_lab.cli.output import print_table
    from titans_lab.doctor import data, machine
    from titans_lab.store.check import faults, quarantine
    from titans_lab.store.store import writing

    records = open_store(store)
    facts = [*machine(records.root), *data(records)]
    found = faults(records) if records.root.exists() else []
    with writing(records):
        folder = quarantine(records, found) if fix else None
    if as_json:
        listed = [
            {"path": str(each.damage.path), "reason": each.damage.reason, "remedy": each.remedy} for each in found
        ]
        moved = folder and str(folder)
        print(json.dumps({"machine": [vars(fact) for fact in facts], "store": listed, "quarantine": moved}, indent=1))
    else:
        print_table(("machine", "", ""), [(fact.name, fact.value, fact.wrong or "") for fact in facts])
        typer.echo(f"\n{records.root}: {f'{len(found)} things to mend' if found else 'nothing is damaged'}")
        for each in found:
            typer.echo(f"  {each.damage}\n    {each.remedy}")
        if folder:
            typer.echo(f"what cannot be used is in {folder}")
    if found or any(fact.wrong for fact in facts):
        raise typer.Exit(FAILED)
