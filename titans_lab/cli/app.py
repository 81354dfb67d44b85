"""The application with all verbs."""

from __future__ import annotations

from typing import Annotated

import typer

import titans_lab
from titans_lab.cli import (
    benches,
    checks,
    data,
    evals,
    fits,
    plans,
    records,
    reports,
    reproductions,
    runs,
    studies,
    tunes,
    upkeep,
    writing,
)

app = typer.Typer(
    name="titans-lab",
    help="Ablation and scaling studies of neural memory that learns at test time: from a YAML file to a report.",
    epilog=(
        "Start here:  titans-lab sweep studies/quickstart.yaml  |  titans-lab report studies/quickstart.yaml  |  "
        'titans-lab query "select model.variant, avg(loss) from runs group by all"'
    ),
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
    runs.logs,
    runs.cancel,
    studies.rerun,
    records.query,
    fits.fit,
    reports.report,
    reports.compare,
    reproductions.reproduce,
    upkeep.rm,
    upkeep.export,
    upkeep.compact,
    upkeep.doctor,
)
for verb in VERBS:
    app.command()(verb)
app.command("import")(upkeep.import_)  # Python has taken this name and the next
app.command("eval")(evals.evaluate)
app.add_typer(data.data, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"titans-lab {titans_lab.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...
