"""Finalists of a search with fresh seeds, compared with the baseline: trials' own values are the luckiest of many."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titans_lab.quantities import plural
from titans_lab.report import differences
from titans_lab.report.arms import PALETTE
from titans_lab.report.evidence import quoted
from titans_lab.report.format import NONE, p_value, score, with_interval
from titans_lab.report.section import Row, Section, Table, TableCell, cell
from titans_lab.report.trials import params
from titans_lab.run.derived import DERIVED
from titans_lab.run.metric import MEASURED
from titans_lab.run.run import Run, batches, config_in
from titans_lab.stats.paired import Difference, Sample, compare
from titans_lab.stats.power import pooled_sd, smallest_difference

if TYPE_CHECKING:
    from titans_lab.report.data import Material

STATEMENT = "finalists"
SQL = f"""\
select f.run_id, f.search, f.arm, f.number, f.params, f.seed, f.metric, f.figure, f.direction,
       r.state, r.config, r.data_hash, {", ".join(f"r.{column}" for column in MEASURED)}
from finalists f left join runs r using (run_id)
where f.study = {{study}} and {{by_then}}
order by f.search, f.number nulls first, f.seed, f.run_id"""
#: The columns of a table of differences without "diverged", since "done" says how many seeds have a value.
COLUMNS = {name: cell for name, cell in differences.COLUMNS.items() if name != "diverged"}


@dataclass(frozen=True)
class Finalist:
    """A finalist of a search, or the baseline.

    Attributes:
        number: The trial's number; None for the baseline.
        params: Values by dotted key.
        seeds: The number of seeds that it is to be trained with.
        ended: The number of these seeds whose runs have ended.
        sample: The first objective by seed; a seed without a value counts as diverged.
    """

    number: int | None
    params: Mapping[str, Any]
    seeds: int
    ended: int
    sample: Sample

    @property
    def name(self) -> str:
        """Return the finalist's name for a reader."""
        return "baseline" if self.number is None else f"trial {self.number}"

    @property
    def mean(self) -> float | None:
        """Return the mean over the seeds that have a value."""
        values = self.sample.values.values()
        return math.fsum(values) / len(values) if values else None


@dataclass(frozen=True)
class SearchFinal:
    """The finalists of one search.

    Attributes:
        arm: The arm of the study; empty where it is the only one.
        metric: Name of the first objective.
        sign: The factor of the objective that makes lower values better.
        base: The baseline of the finalists.
        others: Each finalist with its difference from the baseline.
    """

    arm: str
    metric: str
    sign: int
    base: Finalist
    others: Sequence[tuple[Finalist, Difference]]

    @property
    def best(self) -> tuple[Finalist, Difference] | None:
        """Return the finalist with the best mean among those with a value for every seed, or None."""
        whole = [pair for pair in self.others if pair[0].mean is not None and not pair[0].sample.diverged]
        return min(whole, key=lambda pair: self.sign * (pair[0].mean or 0.0), default=None)


def finals(material: Material) -> list[SearchFinal]:
    """Return the finalists of every search of the study that has chosen some."""
    study, by_then = quoted(material.study.family), material.by_then("r.started")
    rows = material.evidence.ask(STATEMENT, SQL.format(study=study, by_then=by_then))
    names = dict.fromkeys(row["search"] for row in rows)
    return [final for name in names if (final := _final([row for row in rows if row["search"] == name]))]


def section(material: Material) -> Section | None:
    """Return a table of every search's finalists; None before any were chosen."""
    found = finals(material)
    if not found:
        return None
    return Section(
        "search-finalists",
        "Search: finalists with fresh seeds",
        (STATEMENT,),
        _caption(found),
        table=_table(found),
        answer=" ".join(map(answer, found)),
    )


def _final(rows: Sequence[Mapping[str, Any]]) -> SearchFinal | None:
    """Return the finalists of a search; None if the record has no baseline."""
    first, members = rows[0], dict[int | None, list[Mapping[str, Any]]]()
    for row in rows:
        members.setdefault(row["number"], []).append(row)
    if None not in members:
        return None
    seen = {number: _batches(each) for number, each in members.items()}
    base, *others = (_finalist(each, seen[number] == seen[None]) for number, each in members.items())
    found = compare(base.sample, [each.sample for each in others], first["direction"] == "minimize")
    sign = 1 if first["direction"] == "minimize" else -1
    return SearchFinal(first["arm"] or "", first["metric"], sign, base, list(zip(others, found, strict=True)))


def _finalist(rows: Sequence[Mapping[str, Any]], paired: bool) -> Finalist:
    values = {row["seed"]: value for row in rows if (value := _value(row)) is not None}
    ended = sum(row["state"] not in (None, "pending", "running") for row in rows)
    sample = Sample(values, len(rows) - len(values), paired)
    return Finalist(rows[0]["number"], json.loads(rows[0]["params"]), len(rows), ended, sample)


def _value(row: Mapping[str, Any]) -> float | None:
    if row["state"] != "done" or config_in(row["config"]) is None:
        return None
    figure = row["figure"]
    value = row[figure] if figure in MEASURED else DERIVED[figure](_run(row).config)
    return float(value) if value is not None and math.isfinite(value) else None


def _batches(rows: Sequence[Mapping[str, Any]]) -> tuple[object, ...] | None:
    """Return the values that decide a finalist's batches, or None before one of its runs is recorded."""
    return next((batches(_run(row)) for row in rows if config_in(row["config"])), None)


def _run(row: Mapping[str, Any]) -> Run:
    config = config_in(row["config"])
    assert config is not None
    return Run(row["run_id"], config, row["seed"], row["data_hash"] or "", {})


def _table(finals: Sequence[SearchFinal]) -> Table:
    names = list(dict.fromkeys(key for final in finals for each, _ in final.others for key in each.params))
    metric = " or ".join(dict.fromkeys(final.metric for final in finals))
    rows = [row for place, final in enumerate(finals) for row in _rows(final, place % len(PALETTE), names)]
    return Table(("search", "candidate"), (*names, "seeds", f"mean {metric}", *COLUMNS), tuple(rows), ("verdict",))


def _rows(final: SearchFinal, colour: int, names: Sequence[str]) -> Iterator[Row]:
    pairs: list[tuple[Finalist, Difference | None]] = [(final.base, None), *final.others]
    for each, found in pairs:
        cells = (show(found) if found else NONE for show in COLUMNS.values())
        done = TableCell(f"{len(each.sample.values)} of {each.seeds}", done=len(each.sample.values), planned=each.seeds)
        chosen = found is not None and found.verdict == "better"
        heads = (final.arm or "all", each.name)
        yield Row(heads, (*params(each.params, names), done, cell(score, mean=each.mean), *cells), colour, chosen)


def _caption(finals: Sequence[SearchFinal]) -> str:
    answers = " ".join(map(answer, finals))
    return (
        f"{answers} Finalists are the best trials of each search, run again together with the baseline configuration, "
        "with fresh seeds and judged on the test part, because the values that chose them are the luckiest "
        "of many. Differences from the baseline are paired by seed, with 95 % t intervals. The verdict is a t test at "
        "5 %, Holm-adjusted over the finalists of a search; a finalist with a failed seed is never better. Finalists "
        "that are better are bold."
    )


def answer(final: SearchFinal) -> str:
    """Return whether the best finalist of a search beats the baseline, in one sentence."""
    where = f"{final.arm}: " if final.arm else ""
    waiting = sum(each.seeds - each.ended for each in (final.base, *(each for each, _ in final.others)))
    if waiting:
        return f"{where}Interim: {plural(waiting, 'run')} of finalists not finished."
    if final.best is None:
        return f"{where}No finalist has a {final.metric} for every seed: none beats the baseline."
    best, found = final.best
    tested = [] if found.adjusted is None else [f"p {p_value(found.adjusted)}"]
    how = with_interval(found.mean or 0.0, found.half_width, final.metric, *tested, plural(found.seeds, "seed"))
    if found.verdict == "better":
        return f"{where}The best finalist, {best.name}, is better than the baseline with fresh seeds: {how}."
    ending = "is worse than" if found.verdict == "worse" else "does not differ significantly from"
    said = f"{where}The best finalist, {best.name}, {ending} the baseline with fresh seeds: {how}."
    return f"{said}{_power(final, best) if found.verdict == 'inconclusive' and found.sign_flip else ''}"


def _power(final: SearchFinal, best: Finalist) -> str:
    """Return which difference the seeds would have found, by the spread of the best finalist's differences."""
    ours, base = best.sample.values, final.base.sample.values
    spread = pooled_sd([[ours[seed] - base[seed] for seed in sorted(ours.keys() & base.keys())]])
    found = smallest_difference(spread, len(ours), len(final.others)) if spread else None
    return "" if found is None else f" A difference of {found:.3g} would be found with 80 % power."
