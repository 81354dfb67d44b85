"""The verbs for writing a study or a plugin: new and schema."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def new(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="The name of the study or of the plugin, or its path. A study gets the suffix .yaml."
        ),
    ],
    plugin: Annotated[
        bool, typer.Option("--plugin", help="Write a folder with a sequence mixer of your own, and its tests.")
    ] = False,
) -> None:
    """Write a commented study that works as it is, as a start for your own.

    With --plugin, write a sequence mixer instead: a folder with a specification, a layer and tests, which a study names
    as `plugins: [NAME]`.
    """
    if plugin:
        from titans_lab.plugins.example import write_example

        folder = write_example(name)
        typer.echo(folder)
        typer.echo(f"next: pytest {folder}; then name the folder in a study: plugins: [{folder}]", err=True)
        return
    from titans_lab.study.template import write_template

    path = write_template(name)
    typer.echo(path)
    typer.echo(f"next: titans-lab plan {path}", err=True)


def schema() -> None:
    """Print the JSON schema of study files, with which editors complete and check them."""
    from titans_lab.study.grammar import study_schema

    print(json.dumps(study_schema(), indent=1))
