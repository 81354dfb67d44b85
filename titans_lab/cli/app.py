"""The application with all verbs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from titans_lab.cli import (
    benches,
    checks,
    data,
    evals,
    fits,
    generates,
    plans,
    publications,
    records,
    reports,
    reproductions,
    runs,
    serves,
    studies,
    tunes,
    upkeep,
    writing,
)
from titans_lab.cli.flags import Verb, Verbs
from titans_lab.version import __version__

app = typer.Typer(
    name="titans-lab",
    help="Ablation and scaling studies of neural memory that learns at test time: from a YAML file to a report.",
    epilog=(
        "Start here:  titans-lab sweep studies/quickstart.yaml  |  titans-lab report studies/quickstart.yaml  |  "
        'titans-lab query "select model.variant, avg(loss) from runs group by all"'
    ),
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

VERBS = (
    writing.new,
    writing.schema,
    plans.plan,
    checks.verify,
    benches.bench,
    studies.sweep,
    tunes.tune,
    runs.status,
    serves.serve,
    runs.logs,
    runs.cancel,
    studies.rerun,
    studies.work,
    records.query,
    fits.fit,
    generates.generate,
    reports.report,
    reports.compare,
    reproductions.reproduce,
    publications.publish,
    upkeep.rm,
    upkeep.export,
    upkeep.compact,
    upkeep.doctor,
)
for verb in VERBS:
    app.command(cls=Verb)(verb)
app.command("import", cls=Verb)(upkeep.import_)  # Python has taken this name and the next
app.command("eval", cls=Verb)(evals.evaluate)
app.add_typer(data.data, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"titans-lab {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    allow_plugins: Annotated[
        bool, typer.Option("--allow-plugins", help="Execute the Python code of the plugins that a study names.")
    ] = False,
    with_plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--with-plugin", metavar="PATH", help="Load a plugin, for a run that used it. May be given several times."
        ),
    ] = None,
) -> None:
    if allow_plugins:
        from titans_lab.plugins.consent import allow_all

        allow_all()
    for reference in with_plugin or ():
        from titans_lab.plugins.loading import load
        from titans_lab.plugins.source import find

        load(find(reference, Path()))


def hoisted(arguments: Sequence[str]) -> list[str]:
    """Return a command line with the options about plugins in front of the verb: a user may write them anywhere."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    front: list[str] = []
    rest: list[str] = []
    at = 0
    while at < end:
        width = 2 if arguments[at] == "--with-plugin" else 1
        about_plugins = arguments[at].partition("=")[0] in ("--allow-plugins", "--with-plugin")
        (front if about_plugins else rest).extend(arguments[at : at + width])
        at += width
    return [*front, *rest, *arguments[max(at, end) :]]
