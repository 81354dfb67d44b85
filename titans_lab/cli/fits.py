"""The verb `fit`, which fits scaling laws."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import Form, Overrides, StoreFolder, StudyFile, load, open_store
from titans_lab.cli.output import print_document, print_rows, print_table, say
from titans_lab.quantities import plural
from titans_lab.scaling import Against
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.scaling import Scaling


def fit(
    study: StudyFile,
    overrides: Overrides = None,
    against: Annotated[
        Against | None,
        typer.Option(help="What the loss depends on. Default: parameters and tokens, as far as the study varies them."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="A varied key: fit one law for each of its values. Default: for each variant."
        ),
    ] = None,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Fit a scaling law to a study's finished runs, with intervals, and test it on the largest budget.

    loss = E + A / parameters^alpha + B / tokens^beta, or one term of it (Chinchilla's approach 3, arXiv 2203.15556).
    Give the same overrides as to the sweep, since they decide which runs belong to the study.
    """
    from titans_lab.scaling import scalings

    found = scalings(load(study, overrides)[1], open_store(store).root, against, by)
    if form == "json":
        print_document([dataclasses.asdict(each) for each in found])
        return
    if form != "table":
        _print_coefficients(found, form)
        return
    for each in found:
        _print(each)


def _print_coefficients(laws: Sequence[Scaling], form: TextFormat) -> None:
    """Print a row for each coefficient of each law, with its 95 % interval."""
    rows = (
        [" ".join(f"{key}={value}" for key, value in law.group.items()), name, *dataclasses.astuple(found), law.runs]
        for law in laws
        for name, found in law.coefficients.items()
    )
    print_rows(("group", "coefficient", "estimate", "low", "high", "runs"), rows, form)


def _print(law: Scaling) -> None:
    terms = " + ".join(
        f"{size} / {name}^{power}"
        for name, size, power in zip(law.variables, ("A", "B"), ("alpha", "beta"), strict=False)
    )
    group = "".join(f"{key}={value}: " for key, value in law.group.items())
    say(f"{group}loss = E + {terms}, {plural(law.runs, 'run')}\n")
    rows = ([name, *(f"{number:.4g}" for number in dataclasses.astuple(c))] for name, c in law.coefficients.items())
    print_table(("", "estimate", "from", "to"), rows)
    say("\n" + "\n".join(_remarks(law)) + "\n")


def _example(law: Scaling) -> str:
    from titans_lab.quantities import count

    best = law.optimum
    if best is None:
        return ""
    sizes = f"{count(best.parameters)} and {count(best.tokens)} at {count(best.flops)}, ten times the largest budget"
    return f": {sizes}, where a loss of {best.loss.value:.4g} is expected ({best.loss.low:.4g} to {best.loss.high:.4g})"


def _remarks(law: Scaling) -> Iterator[str]:
    yield "95 % intervals from a bootstrap over whole runs; parameters include the embedding and the output projection."
    if "a" in law.coefficients:
        yield f"For the least loss, parameters grow as FLOPs^a and tokens as FLOPs^b{_example(law)}."
    yield f"Residuals: {law.residual:.2%} (root mean square)."
    if law.held_out:
        error = f"{law.held_out.error:+.2%} on average, {law.held_out.spread:.2%} root mean square"
        runs = plural(law.held_out.points, "run")
        yield f"Largest budget, held out ({runs}): predicted {error}."
    else:
        yield "No budget could be held out: the others do not determine a law."
    if law.isoflop:
        a, isoflop = law.isoflop.a, law.isoflop
        verdict = "agrees with" if isoflop.agrees else "DISAGREES with"
        yield (
            f"IsoFLOP parabolas: a = {a.value:.4g} ({a.low:.4g} to {a.high:.4g}), {isoflop.used} of {isoflop.budgets} "
            f"budgets with an optimum inside the grid: {verdict} the law."
        )
    if law.undetermined:
        yield "These runs leave E open: its interval reaches 0. Larger sizes or budgets would settle it."
    for state, count in law.left_out.items():
        yield f"Not in the fit: {count} {state}."
