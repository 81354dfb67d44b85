"""The verb `publish`, which keeps findings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from titans_lab.cli.arguments import StoreFolder, open_store
from titans_lab.cli.output import FAILED
from titans_lab.errors import UserError
from titans_lab.quantities import plural


def publish(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders with a study.yaml, one for each finding.")
    ],
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Draw the pages again from the archives, as after a change of the report.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: compare the pages and tables with what the archives give.")
    ] = False,
    store: StoreFolder = None,
) -> None:
    """Publish finished studies: write an archive of the records, the report and its tables into each folder.

    The archive has no weights. The pages share one script, which lies in the folder above them. --check needs neither
    the store nor the data. Exit code 3: a page or a table is not what its archive gives.
    """
    from titans_lab.publication import Finding

    if redraw and check:
        raise UserError("publish: --redraw writes, and --check compares; give one of them")
    wrong = 0
    for finding in map(Finding, folders):
        if check:
            differences = finding.differences()
            wrong += bool(differences)
            for line in differences:
                typer.echo(line)
            if not differences:
                typer.echo(f"{finding.path}: report and tables are what the archive gives, byte for byte")
            continue
        collected = "" if redraw else f"{plural(finding.collect(open_store(store, there=True)), 'run')}, "
        typer.echo(f"{finding.path}: {collected}{plural(len(finding.draw()), 'file')} drawn")
    if wrong:
        raise typer.Exit(FAILED)
