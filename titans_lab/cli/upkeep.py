"""The verbs that look after a store: compact, rm, export, import and doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import Form, States, StoreFolder, Targets, Where, open_store, selected
from titans_lab.cli.clusters import Ask, On, Profile, Settings, checks_of
from titans_lab.cli.output import FAILED, note, print_document, print_facts, print_rows, print_table, say
from titans_lab.errors import UserError
from titans_lab.quantities import plural
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.store.store import Store

ARCHIVES = (".tar.gz", ".tgz")  # the ends of an archive's name


def compact(
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete the compacted files. No record is lost: they are copies.")
    ] = False,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Copy the rows of finished runs into one file for each view, so that queries over thousands of runs stay fast.

    A sweep does so by itself where that pays. A run that changes afterwards is read from its folder.
    """
    from titans_lab.store import compaction
    from titans_lab.store.store import writing

    records = open_store(store, there=True)
    with writing(records):
        if remove:
            compaction.remove(records)
            return
        done = compaction.compact(records)
    if form != "table":
        print_facts(vars(done), form)
    else:
        print(f"{plural(done.runs, 'run')} with a result, {done.added} of them new, in {done.size / 1e6:.1f} MB")


def rm(
    targets: Targets = None,
    states: States = None,
    where: Where = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Move runs into the store's trash; or studies, with those of their runs that no other study has.

    Nothing is deleted. A folder that is moved back is in the store again.
    """
    from titans_lab import control

    records = open_store(store, there=True)
    if not targets and not states and not where:
        raise UserError("rm: name a study or a run, or give --state or --where")
    rows = selected(records, targets, states, where)
    found = control.removal(records, targets or [], rows, with_studies=not states and not where)
    if found.kept:
        note(f"not moved: {plural(found.kept, 'run')}, of another study too or of one that is running")
    if found.runs or found.studies:
        _confirm(f"Move {plural(len(found.runs), 'run')} of {records.root} into its trash?", yes)
    else:
        note("nothing to remove")
    done = control.remove(records, found)
    if begun := done.kept - found.kept:
        note(f"not moved: {plural(begun, 'run')}, which a sweep has begun meanwhile")
    if form != "table":
        print_facts(vars(done) | {"trash": done.trash and str(done.trash)}, form)
    elif done.trash:
        print(
            f"moved {plural(len(done.runs), 'run')} to {done.trash}; to delete for good: rm -r {records.root / 'trash'}"
        )


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("rm: nobody is there to be asked; give --yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(FAILED)


def export(
    targets: Targets = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The archive to write. Default: store.tar.gz."),
    ] = None,
    to: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            "--to",
            metavar="hf FOLDER",
            help="Write one finished run as a new folder for Hugging Face's transformers: weights, configuration, "
            "tokenizer and model card.",
        ),
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights/--no-weights", help="Whether to include the trained models and checkpoints.")
    ] = True,
    states: States = None,
    where: Where = None,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Write a store, or some of its runs and studies, to one archive for `titans-lab import` on any machine.

    With `--to hf FOLDER`, write the weights of one run for transformers.
    """
    from titans_lab.store import archive

    if to is not None:
        _export_to(to, targets or [], open_store(store, there=True), form, output or states or where)
        return
    output = output or Path("store.tar.gz")
    if not output.name.lower().endswith(ARCHIVES):
        raise UserError(f"-o {output}: an archive is a gzipped tar file; end the name in {' or '.join(ARCHIVES)}")
    records = open_store(store, there=True)
    rows = selected(records, targets, states, where)
    ready = [row["run_id"] for row in rows if row["state"] != "running"]
    studies = [name for target in targets for name in _study_names(records, target)] if targets else None
    files = archive.export(records, ready, studies, output, weights)
    if left := len(rows) - len(ready):
        note(f"left out, since running: {plural(left, 'run')}")
    if form != "table":
        print_facts({"archive": str(output), "runs": ready, "files": files, "left_out": left}, form)
    else:
        print(f"{output}: {plural(len(ready), 'run')}, {plural(files, 'file')}")


def _export_to(to: tuple[str, Path], targets: list[str], records: Store, form: TextFormat, other: object) -> None:
    """Write one run as a folder for another library, of which there is one. `other` is an option for archives."""
    from titans_lab.huggingface import export

    library, folder = to
    if library != "hf":
        raise UserError(f"--to {library}: is not known; write --to hf FOLDER")
    if len(targets) != 1 or other:
        raise UserError("--to hf: takes one run, by the start of its id, and none of --output, --state and --where")
    files = export(records, targets[0], folder)
    if form != "table":
        print_facts({"folder": str(folder), "files": files}, form)
    else:
        print(f"{folder}: {', '.join(files)}")


def _study_names(store: Store, target: str) -> list[str]:
    """Return the names of a study's variants, and its own, which its searches have."""
    from titans_lab.selection import named_studies, study_name

    return [study_name(target), *(path.stem for path in named_studies(store, target))]


def import_(
    path: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="An archive that `titans-lab export` wrote.")],
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Put the runs and studies of an archive into the store. Checksums are checked, and no result is replaced.

    Exit code 3: a record was left out, because the store has another one of its name or it is damaged. The others are
    imported.
    """
    from titans_lab.store.archive import bring
    from titans_lab.store.store import writing

    records = open_store(store)
    with writing(records):
        found = bring(records, path)
    if form != "table":
        print_facts(vars(found), form)
    else:
        print(f"{len(found.added)} added, {len(found.same)} there already, {len(found.conflicts)} in conflict")
    for name in found.conflicts:
        note(f"conflict: {records.root / name} differs or is running; it stays as it is")
    for words in found.refused:
        note(f"refused: {words}; it was left out, and the rest is imported")
    for run_id, parent in found.orphans:
        note(f"run {run_id} began with the weights of run {parent}, which are not here; only its own records are")
    if found.conflicts or found.refused:
        raise typer.Exit(FAILED)


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", "--quarantine", help="Move unusable records into the store's quarantine.")
    ] = False,
    on: On = "local",
    profile: Profile = None,
    settings: Settings = None,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Look for damaged records in the store and for problems of this machine. Nothing changes without --fix.

    With --on, also check whether a cluster accepts workers. Exit code 3: something was found.
    """
    from titans_lab.doctor import Fact, data, machine
    from titans_lab.store.check import faults, quarantine
    from titans_lab.store.store import writing

    records = open_store(store)
    ask = Ask(on, profile, settings or ())
    ask.check(None)
    asked = checks_of(ask, records) if on != "local" else []
    facts = [*machine(records.root), *data(records), *(Fact(*each) for each in asked)]
    found = faults(records) if records.root.exists() else []
    with writing(records):
        folder = quarantine(records, found) if fix else None
    if form == "json":
        listed = [
            {"path": str(each.damage.path), "reason": each.damage.reason, "remedy": each.remedy} for each in found
        ]
        facts_found = {"machine": [vars(fact) for fact in facts], "store": listed}
        print_document({**facts_found, "quarantine": folder and str(folder)})
    elif form != "table":
        rows = [("machine", fact.name, fact.value, fact.wrong) for fact in facts]
        rows += [("store", str(each.damage.path), each.damage.reason, each.remedy) for each in found]
        print_rows(("about", "name", "found", "remedy"), rows, form)
    else:
        print_table(("machine", "", ""), [(fact.name, fact.value, fact.wrong or "") for fact in facts])
        damaged = f"{plural(len(found), 'thing')} to mend" if found else "nothing is damaged"
        print(f"\n{records.root}: {damaged}")
        for each in found:
            say(f"  {each.damage}\n    {each.remedy}")
        if folder:
            print(f"what cannot be used is in {folder}")
    if found or any(fact.wrong for fact in facts):
        raise typer.Exit(FAILED)
