"""The scaling laws of a study that varies sizes or budgets: which runs make one, and what it says as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from titans_lab.errors import UserError
from titans_lab.quantities import plural
from titans_lab.report import format as shown
from titans_lab.report.arms import Arm, Design, phrase, short_names
from titans_lab.report.data import Material
from titans_lab.report.evidence import Row as Record
from titans_lab.report.section import Row, Table, TableCell, cell
from titans_lab.scaling import Fitted, Scaling, fitted, scaling, sql
from titans_lab.stats.interval import Interval

STATEMENT = "scaling"
#: Factors that make a model or its training larger. Each combination of the other factors has a law of its own.
SIZES = {
    "model.dim",
    "model.n_layers",
    "model.n_heads",
    "model.mlp_ratio",
    "model.memory.expansion",
    "preset",
    "train.tokens",
}
SPAN = 3.0  # ratio of the largest to the smallest size or budget below which no law is fitted
FEWEST = 4  # planned sizes or budgets with which a study asks for a law
COLUMNS = ("estimate", "from", "to", "remark")


@dataclass(frozen=True, eq=False)
class Drawn:
    """The law of some arms, with its name and place on the page.

    Attributes:
        name: The label of the law; empty where it is the only one.
        place: The index of the law among the laws, from 0.
        arms: The arms whose runs the law is fitted to.
        law: The fitted law.
        found: The figures of the law with their intervals.
    """

    name: str
    place: int
    arms: tuple[Arm, ...]
    law: Fitted
    found: Scaling


@dataclass(frozen=True)
class Laws:
    """The laws of a study, and the reasons why arms have none."""

    drawn: tuple[Drawn, ...]
    refused: tuple[str, ...]


def laws(material: Material, design: Design) -> Laws | None:
    """Return a law for every combination of the factors that are not sizes; None if the study varies no sizes."""
    if not _asks(design):
        return None
    rows = {row["run_id"]: row for row in material.evidence.ask(STATEMENT, sql(each.run for each in material.outcomes))}
    drawn: list[Drawn] = []
    refused: list[str] = []
    for name, arms in _groups(design):
        try:
            drawn.append(_fit(name, len(drawn), arms, rows))
        except UserError as error:
            refused.append(str(error))
    return Laws(tuple(drawn), tuple(dict.fromkeys(refused)))


def _asks(design: Design) -> bool:
    """Return whether the study varies sizes or budgets: enough values, and far enough apart."""
    if not any(SIZES & {*arm.outcomes[0].run.factors} for arm in design.arms):
        return False
    runs = [arm.outcomes[0] for arm in design.arms]
    tokens = {one.run.config.train.tokens for one in runs}
    known = [one.result.parameters for one in runs if one.result.parameters]
    spans = [max(values) / min(values) for values in (tokens, known) if values]
    return len({*known}) * len(tokens) >= FEWEST and max(spans, default=1) >= SPAN


def _groups(design: Design) -> Iterator[tuple[str, tuple[Arm, ...]]]:
    keys = {key for arm in design.arms for key in arm.outcomes[0].run.factors if key not in SIZES}
    varied = {key for key in keys if len({repr(arm.outcomes[0].run.factors.get(key)) for arm in design.arms}) > 1}
    names, groups = short_names(sorted(varied)), dict[str, list[Arm]]()
    for arm in design.arms:
        factors = arm.outcomes[0].run.factors
        groups.setdefault(phrase({names[key]: factors.get(key, "") for key in sorted(varied)}), []).append(arm)
    yield from ((name, tuple(arms)) for name, arms in groups.items())


def _fit(name: str, place: int, arms: Sequence[Arm], rows: dict[str, Record]) -> Drawn:
    group = {"runs": name} if name else {}
    law = fitted(group, [rows.get(one.run.run_id, {}) for arm in arms for one in arm.outcomes])
    return Drawn(name, place, tuple(arms), law, scaling(law))


def answer(found: Laws) -> str:
    """Return the exponents of every law with their intervals, in sentences."""
    return " ".join(_exponents(each) for each in found.drawn)


def _exponents(each: Drawn) -> str:
    """Return how the loss depends on each variable of a law."""
    pairs = zip(each.found.variables, ("alpha", "beta"), strict=False)
    known = [f"{variable}^-{_in_words(each.found.coefficients[name])}" for variable, name in pairs]
    lead = f"{each.name}: the" if each.name else "The"
    return f"{lead} loss falls towards E = {_in_words(each.found.coefficients['E'])} with {shown.join(known)}."


def _in_words(value: Interval) -> str:
    return f"{value.value:.3g} (95 % CI {value.low:.3g} to {value.high:.3g})"


def table(found: Laws) -> Table:
    """Return a table of every law's coefficients and checks."""
    rows = [row for each in found.drawn for row in _rows(each)]
    return Table(("law", "figure"), COLUMNS, tuple(rows), words=COLUMNS[-1:])


def _rows(each: Drawn) -> Iterator[Row]:
    colours = {arm.colour for arm in each.arms}
    colour = colours.pop() if len(colours) == 1 else None
    for what, value, remark in _facts(each.found):
        yield Row((each.name or "all runs", what), (*_numbers(value), remark), colour)


def _facts(found: Scaling) -> Iterator[tuple[str, Interval | float, str]]:
    remarks = _remarks(found)
    for name, value in found.coefficients.items():
        yield name, value, remarks.get(name, "")
    if found.isoflop:
        used = f"{found.isoflop.used} of {plural(found.isoflop.budgets, 'budget')} with an optimum inside the grid"
        verdict = "agrees with the law" if found.isoflop.agrees else "DISAGREES with the law: trust neither alone"
        yield "a, by IsoFLOP parabolas", found.isoflop.a, f"{verdict}; {used}"
    if found.optimum:
        best = found.optimum
        sizes = f"{shown.short(best.parameters)} parameters and {shown.short(best.tokens)} tokens"
        yield f"loss at {shown.short(best.flops)} FLOPs", best.loss, f"ten times the largest budget: {sizes}"
    yield "residuals, root mean square", found.residual, "of the log of measured over fitted loss"
    if found.held_out:
        runs = plural(found.held_out.points, "run")
        yield "error at the largest budget", found.held_out.error, f"of a fit without it, mean over {runs}"


def _remarks(found: Scaling) -> dict[str, str]:
    place = " and ".join(f"{name}^{power}" for name, power in zip(found.variables, ("alpha", "beta"), strict=False))
    remarks = {"E": "what no size takes away", "alpha": f"the loss falls with {place}"}
    remarks |= {"a": "best parameters grow as FLOPs^a", "b": "best tokens grow as FLOPs^b"}
    return remarks | ({"E": "these runs leave it open: its interval reaches 0"} if found.undetermined else {})


def _numbers(value: Interval | float) -> tuple[TableCell, TableCell, TableCell]:
    if not isinstance(value, Interval):
        return cell("{:+.2%}".format, estimate=value), TableCell(shown.NONE, low=None), TableCell(shown.NONE, high=None)
    four = "{:.4g}".format
    return cell(four, estimate=value.value), cell(four, low=value.low), cell(four, high=value.high)
