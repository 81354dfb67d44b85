"""The verbs for writing a study: new and schema."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def new(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The name of the study, or the path of its file, with or without .yaml."),
    ],
) -> None:
    """Write a commented study that works as it is, as a start for your own."""
    from titans_lab.study.template import write_template

    path = write_template(name)
    typer.echo(path)
    typer.echo(f"next: titans-lab plan {path}", err=True)


def schema() -> None:
    """Print the JSON schema of study files, with which editors complete and check them."""
    from titans_lab.study.grammar import study_schema

    print(json.dumps(study_schema(), indent=1))
