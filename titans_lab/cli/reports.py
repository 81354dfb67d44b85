"""The verbs that show results: `report` and `compare`."""

from __future__ import annotations

import webbrowser
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import Form, Overrides, StoreFolder, Strict, load, open_store, warn_of_edits
from titans_lab.cli.output import FAILED, say
from titans_lab.errors import UserError
from titans_lab.tables import format_in

if TYPE_CHECKING:
    from titans_lab.report import Report
    from titans_lab.run.run import Run
    from titans_lab.study.study import Study


class Format(StrEnum):
    """The formats of a report, which are also the suffixes of their files."""

    html = "html"
    md = "md"
    json = "json"
    csv = "csv"
    tex = "tex"
    png = "png"
    svg = "svg"


#: The formats of which a report is one file, by the file's suffix.
ONE_FILE = {".html": Format.html, ".htm": Format.html, ".md": Format.md, ".json": Format.json}


def report(
    study: Annotated[
        Path | None,
        typer.Argument(metavar="STUDY|STORE", help="A study file, or the folder of a store. Default: the whole store."),
    ] = None,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write. Default: <store>/reports/<study>--<overrides>.<format>.",
        ),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="The format. csv and tex make a folder with a file for each table, png and svg one for each figure. "
            "Default: by the name of the output file, else html.",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check", metavar="FILE", help="Write nothing: compare this report with the page that the store gives."
        ),
    ] = None,
    strict: Strict = False,
    store: StoreFolder = None,
) -> None:
    """Write a study's results, or a whole store's, as one HTML page that needs no network.

    Give the same overrides as to the sweep, since they decide which runs belong to the study. Each variant of a study,
    by its overrides, has a report of its own. Exit code 2: the store has no run of it.
    --check draws the page anew from the store and compares the bytes. It takes the study as the store recorded its
    last sweep; name the study file if that has changed since. Exit code 3: the report differs, and it says how.
    """
    from titans_lab.report import write

    if study and study.is_dir():
        store, study = study, None
    records = open_store(store)
    root = records.root
    if check:
        _check(check, root, study, overrides)
        return
    wanted = form or (format_in(ONE_FILE, output) if output else Format.html)
    drawn = _report(study, overrides, root)
    warn_of_edits([asdict(each) for each in drawn.material.finished_results], strict)
    suffix = f".{wanted}" if wanted in ONE_FILE.values() else f"-{wanted}"
    path = output or records.report_path(drawn.material.study.name, suffix)
    for file, content in _files(drawn, wanted).items():
        write(content, path / file if file else path)
    typer.echo(path)
    if show:
        webbrowser.open(path.absolute().as_uri())


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN...", help="Two runs or more, by the start of their ids.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Also write the comparison as an HTML page.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Compare runs: the settings in which they differ, their final figures and their learning curves."""
    from titans_lab.cli.output import print_rows
    from titans_lab.report import page, runs_report, write
    from titans_lab.report.compare import records as by_run
    from titans_lab.report.compare import rows
    from titans_lab.report.head import head
    from titans_lab.store.weights import find_run

    records = open_store(store)
    if output:
        format_in({".html": Format.html, ".htm": Format.html}, output)
    ids = list(dict.fromkeys(find_run(records, run).run_id for run in runs))
    if len(ids) < 2:
        raise UserError(f"{' '.join(runs)}: one run; name two or more to compare")
    drawn = runs_report(ids, records.root)
    if form in ("csv", "json"):
        found = by_run(drawn)
        print_rows(list(found[0]), (record.values() for record in found), form)
    else:
        if form == "table":
            say(f"{head(drawn.material, drawn.design, drawn.sections).verdict}\n")
        print_rows(("", *ids), ((name, *values) for name, values in rows(drawn)), form)
    if output or show:
        path = write(page(drawn), output or records.report_path("compare", ".html"))
        typer.echo(path, err=True)
        if show:
            webbrowser.open(path.absolute().as_uri())


def summarise(study: Study, runs: list[Run], root: Path) -> None:
    """Print on standard error what a report on the study says first."""
    from titans_lab.report import study_report

    for line in ("", *study_report(study, runs, root).summary):
        typer.echo(line, err=True)


def _report(study: Path | None, overrides: list[str] | None, root: Path) -> Report:
    from titans_lab.report import recorded_report, store_report

    if study is None and overrides:
        raise UserError(f"{overrides[0]}: a whole store takes no overrides; name the study file before them")
    if study is None:
        return store_report(root)
    return recorded_report(*load(study, overrides), root)


def _files(drawn: Report, form: Format) -> dict[str, str | bytes]:
    """Return the content of each file to write, by its name in the folder. "": the output is one file."""
    from titans_lab.report import page
    from titans_lab.report.formats import all_tables, to_csv, to_json, to_latex, to_markdown
    from titans_lab.report.images import images

    whole = {Format.html: page, Format.md: to_markdown, Format.json: to_json}
    if form in whole:
        return {"": whole[form](drawn)}
    if form is Format.csv:
        return {f"{name}.csv": to_csv(table) for name, _, table in all_tables(drawn)}
    if form is Format.tex:
        return {f"{name}.tex": to_latex(table, title) for name, title, table in all_tables(drawn)}
    figures = [section.figure for section in drawn.sections if section.figure]
    return {f"{name}.{form}": content for name, content in images(figures, form.value).items()}


def _check(path: Path, root: Path, study: Path | None, overrides: list[str] | None) -> None:
    from titans_lab.report.check import check

    found = check(path, root, load(study, overrides) if study else None)
    for line in found.differences:
        typer.echo(line)
    if found.note:
        typer.echo(f"{path}: not checked, for it was {found.note}; install the versions that drew it", err=True)
    if found.differences:
        typer.echo(f"{path}: NOT the page that the store at {root} gives", err=True)
    if found.differences or found.note:
        raise typer.Exit(FAILED)
    typer.echo(f"{path}: the page that the store at {root} gives, byte for byte", err=True)
