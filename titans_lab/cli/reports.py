"""Verbs that show results."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from titans_lab.cli.arguments import Overrides, StoreFolder, StudyFile, load, open_store


def report(
    study: StudyFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else <store>/reports/<study>.html.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    store: StoreFolder = None,
) -> None:
    """Write a study's results as one HTML page that needs no network.

    Give the overrides that the sweep was given: they decide which runs belong to the study.
    """
    from titans_lab.report import page, study_report, write

    loaded, runs = load(study, overrides)
    root = open_store(store).root
    path = write(page(study_report(loaded, runs, root)), output or root / "reports" / f"{loaded.name}.html")
    typer.echo(path)
    if show:
        webbrowser.open(path.absolute().as_uri())
