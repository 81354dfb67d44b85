"""Factorial studies: the main effect of each factor, and their two-way interactions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from titans_lab.quantities import plural
from titans_lab.report import format as shown
from titans_lab.report.arms import Design
from titans_lab.report.crossed import crossing, level_name
from titans_lab.report.data import Material
from titans_lab.report.differences import INTERVAL
from titans_lab.report.heat_map import heat_map
from titans_lab.report.section import Row, Section, Table, TableCell, cell
from titans_lab.report.verdicts import power_sentence
from titans_lab.run.metric import Metric
from titans_lab.stats.crossing import CrossedFactor, Crossing
from titans_lab.stats.factorial import Contrast, Effect, effects
from titans_lab.stats.interval import LEVEL

COLUMNS = ("estimate", INTERVAL, "verdict", "p, Holm", "p", "seeds", "cells")
MAIN = COLUMNS[:3]
METHOD = (
    "A main effect is the difference between two levels of a factor, averaged over the levels of the others. An "
    "interaction is the difference between two such differences. Each is computed for every seed and tested by a t "
    "test over the seeds, so that a seed is a block. An effect with several comparisons is tested by a "
    "repeated-measures F test with Greenhouse-Geisser correction. Seeds are assumed to be independent, and differences "
    "normal. Holm's method adjusts the effects as one family, and the comparisons within effects that have several as "
    "another. Intervals are not adjusted."
)
AVERAGED = " Interactions of three or more factors are not tested; the effects are averages over them."


@dataclass(frozen=True)
class Factorial:
    """The effects of a study, with its crossed factors and the metric of the cells."""

    crossing: Crossing
    effects: tuple[Effect, ...]
    metric: Metric

    def factors(self, effect: Effect) -> list[CrossedFactor]:
        """Return the factors of an effect."""
        return [self.crossing.factors[axis] for axis in effect.factors]

    def name(self, effect: Effect) -> str:
        """Return the name of an effect: "momentum", or "momentum × chunk size" for an interaction."""
        return " × ".join(factor.name for factor in self.factors(effect))

    def comparison(self, effect: Effect, contrast: Contrast) -> str:
        """Return the levels that a contrast compares, such as "off vs on", or "per doubling" for a trend."""
        pairs = zip(self.factors(effect), effect.matched.levels, strict=True)
        if contrast.levels:
            return ", ".join(
                f"{level_name(factor, level)} vs {level_name(factor, levels[0])}"
                for (factor, levels), level in zip(pairs, contrast.levels, strict=True)
            )
        return ", ".join(_slope_name(factor, levels) for factor, levels in pairs)


def factorial(material: Material, design: Design) -> Factorial | None:
    """Return the effects of a study with crossed factors; None for other studies, and before any effect is known."""
    crossed = crossing(design)
    found = effects(crossed) if crossed else []
    return Factorial(crossed, tuple(found), material.metric) if crossed and found else None


def section(material: Material, design: Design) -> Section | None:
    """Return the effects as a table, with a heat map of the cells where there are two factors."""
    found = factorial(material, design)
    if found is None:
        return None
    figure = heat_map(found.crossing, found.metric, design) if len(found.crossing.factors) == 2 else None
    rows = tuple(row for effect in found.effects for row in _rows(found, effect))
    return Section(
        name="effects",
        title="Effects of the factors",
        evidence=("runs",),
        caption=_caption(found),
        figure=figure,
        table=Table(("effect", "comparison"), COLUMNS, rows, words=("verdict",), metric=found.metric, main=MAIN),
        answer=answer(found),
        findings=tuple(lines(found)),
    )


def lines(found: Factorial) -> Iterator[str]:
    """Yield a sentence for each effect: its estimate with interval and p, its verdict, and what could be found."""
    for effect in found.effects:
        kind = ", interaction" if len(effect.factors) > 1 else ""
        tested = f"p {shown.p_value(effect.p)}, {shown.p_value(effect.adjusted)} after Holm", _seeds(effect)
        said = f"{found.name(effect)}{kind}{_estimated(found, effect, tested)}: {effect.verdict}."
        missed = effect.verdict == "inconclusive"
        yield f"{said} {power_sentence(effect.detectable, effect.seeds, found.metric) if missed else ''}".rstrip()


def _estimated(found: Factorial, effect: Effect, tested: tuple[str, ...]) -> str:
    """Return the only contrast of an effect with its test; of several, the trend and their common test."""
    unit = found.metric.unit
    if len(effect.contrasts) == 1:
        (only,) = effect.contrasts
        measured = shown.with_interval(only.mean, only.half_width, unit, *tested)
        return f" ({found.comparison(effect, only)}): {measured}"
    together = f"{len(effect.contrasts)} comparisons together {', '.join(tested)}"
    if effect.trend is None:
        return f": {together}"
    slope = f"{unit}{' ' if len(effect.factors) == 1 else ', '}{found.comparison(effect, effect.trend)}"
    return f": {shown.with_interval(effect.trend.mean, effect.trend.half_width, slope)}; {together}"


def answer(found: Factorial) -> str:
    """Return the significant effects with their estimates, and which differences were missed if there were any."""
    sure = [effect for effect in found.effects if effect.verdict == "significant"]
    missed = [effect for effect in found.effects if effect.verdict == "inconclusive"]
    said = "; ".join(_significant(found, effect) for effect in sure)
    inconclusive = f"{shown.join([found.name(effect) for effect in missed], most=len(missed))}{_power(found, missed)}."
    if not sure:
        return f"No effect is significant: {inconclusive}"
    return f"{said[0].upper()}{said[1:]}." + (f" Inconclusive: {inconclusive}" if missed else "")


def _power(found: Factorial, missed: Sequence[Effect]) -> str:
    """Return the differences that would be found, in the order of the effects."""
    known = [f"{effect.detectable:.3g}" for effect in missed if effect.detectable is not None]
    if not known or len(known) < len(missed):
        return ""
    return f" ({shown.join(known, most=len(known))} {found.metric.unit} would be found with 80 % power)"


def _significant(found: Factorial, effect: Effect) -> str:
    """Return a significant effect in words: which level is better, or by how much the score changes."""
    names = [factor.name for factor in found.factors(effect)]
    every = [each for each in (effect.trend, *effect.contrasts) if each and each.p is not None]
    clearest = min(every, key=lambda each: each.p or 0.0)
    tested = f"p {shown.p_value(effect.adjusted)} after Holm", _seeds(effect)
    measured = shown.with_interval(clearest.mean, clearest.half_width, found.metric.unit, *tested)
    if len(names) > 1:
        return f"{' and '.join(names)} interact ({found.comparison(effect, clearest)}): {measured}"
    if clearest is effect.trend:
        return f"{names[0]} matters ({found.comparison(effect, clearest)}): {measured}"
    verdict = "better" if (clearest.mean < 0) == (found.metric.direction == "minimize") else "worse"
    level, base = found.comparison(effect, clearest).split(" vs ")
    return f"{names[0]} {level} is {verdict} than {base}: {measured}"


def _seeds(effect: Effect) -> str:
    diverged = f", {plural(effect.diverged, 'run')} diverged" if effect.diverged else ""
    return plural(effect.seeds, "seed") + diverged


def _slope_name(factor: CrossedFactor, levels: Sequence[int]) -> str:
    if len(levels) == 2:
        return f"{level_name(factor, levels[1])} vs {level_name(factor, levels[0])}"
    return f"per doubling of {factor.name}" if factor.by_ratio else f"per unit of {factor.name}"


def _rows(found: Factorial, effect: Effect) -> Iterator[Row]:
    """Yield the row of an effect's test, and of each comparison and trend where there are several."""
    used, every = len(effect.matched.cells), len(found.crossing.cells)
    cells = TableCell(f"{used} of {every}", cells=used, cells_of_study=every)
    name, counts = found.name(effect), (cell(str, seeds=effect.seeds), cells)
    tested = (effect.verdict, *_tested(effect.p, effect.adjusted))
    if len(effect.contrasts) == 1:
        (only,) = effect.contrasts
        yield Row((name, found.comparison(effect, only)), (*_numbers(only, effect), *tested, *counts))
        return
    yield Row((name, "all levels"), (*_numbers(None, effect), *tested, *counts))
    for each in (*effect.contrasts, *filter(None, [effect.trend])):
        sure = each.adjusted is not None and each.adjusted < 1 - LEVEL and not effect.diverged
        tested = ("significant" if sure else "inconclusive", *_tested(each.p, each.adjusted))
        yield Row((name, found.comparison(effect, each)), (*_numbers(each, effect), *tested, *counts))


def _tested(p: float | None, adjusted: float | None) -> tuple[TableCell, TableCell]:
    return cell(shown.p_value, p_holm=adjusted), cell(shown.p_value, p=p)


def _numbers(contrast: Contrast | None, effect: Effect) -> tuple[TableCell, TableCell]:
    """Return the estimate and its interval; of all levels together there is none."""
    estimate = cell(shown.signed, estimate=contrast.mean if contrast else None)
    if contrast is None or contrast.half_width is None:
        return estimate, TableCell(shown.NONE, estimate_low=None, estimate_high=None)
    low, high = (contrast.mean + side * contrast.half_width for side in (-1, 1))
    mark = " †" if effect.diverged else ""
    return estimate, TableCell(
        f"[{shown.signed(low)}, {shown.signed(high)}]{mark}", estimate_low=low, estimate_high=high
    )


def _caption(found: Factorial) -> str:
    lines = [f"Estimates are differences in {found.metric.label}. {METHOD}"]
    lines += [AVERAGED] if len(found.crossing.factors) > 2 else []
    if any(effect.diverged for effect in found.effects):
        lines += [
            " † Conditional on convergence: a seed that diverged in any of the cells is left out, and the effect "
            "is never called significant."
        ]
    return "".join([*lines, *_left_out(found)])


def _left_out(found: Factorial) -> Iterator[str]:
    """Yield the levels that an effect leaves out because a matching cell has no value."""
    for effect in found.effects:
        for factor, levels in zip(found.factors(effect), effect.matched.levels, strict=True):
            missing = [level_name(factor, level) for level in range(len(factor.levels)) if level not in levels]
            if missing:
                left_out = f"{factor.name} {shown.join(missing)}"
                yield f" {found.name(effect)} leaves out {left_out}, which lacks cells with a value."
