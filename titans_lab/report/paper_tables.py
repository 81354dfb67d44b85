"""Evaluations of the finished runs in the layout of the paper's tables, with the paper's figures below ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from titans_lab import paper
from titans_lab.harness.table import TASKS
from titans_lab.harness.table import table as language_row
from titans_lab.report import format as shown
from titans_lab.report.arms import Arm, Design
from titans_lab.report.axis import tokens
from titans_lab.report.data import Material, Outcome
from titans_lab.report.evidence import quoted
from titans_lab.report.lengths import STATEMENT as LENGTHS
from titans_lab.report.lengths import Answers, facets
from titans_lab.report.section import Row, Section, Table, TableCell, identifier, mean_cell
from titans_lab.stats.interval import summarise
from titans_lab.tasks.series import SeriesSettings

PERCENT = 100.0
HARNESS = """\
select run_id, task, metric, value, count
from evals
where run_id in ({ids}) and evaluation is not null and {by_then}
  and task in ({tasks}) and position is null
qualify row_number() over (
  partition by run_id, task, metric order by count desc, finished desc nulls last, evaluation
) = 1
order by run_id, task, metric"""
FORECASTS = """\
select run_id, upper(metric) as metric, value
from evals
where run_id in ({ids}) and evaluation is null and task = 'series' and split = 'test' and baseline is null
  and metric in ('mse', 'mae')
order by run_id, metric"""
HORIZONS = {96, 192, 336, 720}
MAD = {
    "compression": "compression",
    "in_context_recall": "in-context recall",
    "fuzzy_in_context_recall": "fuzzy recall",
    "selective_copying": "selective copying",
    "memorization": "memorisation",
}
NEEDLES = {"passkey": "niah-passkey", "number": "niah-number", "word": "niah-word"}

#: The figures of a model here: the value of each of its seeds, by column.
Figures = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Compared:
    """A table of the paper with figures of ours.

    Attributes:
        name: The name of the section.
        tables: The paper's tables, which have the same columns.
        rows: Our models by name, each with its arms and figures.
        evidence: The statements that the figures come from.
        digits: The digits after the decimal point.
        remark: A remark on how our figures were measured.
    """

    name: str
    tables: tuple[paper.PaperTable, ...]
    rows: tuple[tuple[str, tuple[Arm, ...], Figures], ...]
    evidence: tuple[str, ...]
    digits: int = 1
    remark: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return our columns that the paper does not have, such as lengths, then the paper's."""
        known = tuple(self.tables[0].columns)
        more = dict.fromkeys(column for _, _, figures in self.rows for column in figures if column not in known)
        return (*more, *known)


def sections(material: Material, design: Design) -> Iterator[Section]:
    """Yield a section for every table of the paper that has figures of ours."""
    for find in (_language, _needles, _babilong, _mad, _forecasts):
        for compared in find(material, design):
            yield _section(compared)


def _section(compared: Compared) -> Section:
    ours = [
        Row(("ours", name), _cells(compared, figures), arms[0].colour if len(arms) == 1 else None)
        for name, arms, figures in compared.rows
    ]
    theirs = [
        Row((_whose(compared, table), name), _theirs(compared, table, name))
        for table in compared.tables
        for name in table.rows
    ]
    first = compared.tables[0]
    return Section(
        name=f"paper-{compared.name}",
        title=f"Compared with the paper: {first.title if len(compared.tables) == 1 else first.title.partition(',')[0]}",
        evidence=compared.evidence,
        caption=_caption(compared, first),
        table=Table(("whose", "model"), compared.columns, (*ours, *theirs)),
    )


def _whose(compared: Compared, table: paper.PaperTable) -> str:
    scale = f", {table.title.partition(', ')[2]}" if len(compared.tables) > 1 else ""
    return f"paper, {table.source}{scale}"


def _cells(compared: Compared, figures: Figures) -> tuple[str, ...]:
    means = {column: summarise(values) for column, values in figures.items() if values}
    return tuple(mean_cell(column, means.get(column), compared.digits) for column in compared.columns)


def _theirs(compared: Compared, table: paper.PaperTable, name: str) -> tuple[str, ...]:
    known = dict(zip(table.columns, table.rows[name], strict=True))
    figures = ((column, known.get(column)) for column in compared.columns)
    return tuple(
        TableCell(shown.NONE if figure is None else f"{figure:.{compared.digits}f}", **{identifier(column): figure})
        for column, figure in figures
    )


def _caption(compared: Compared, table: paper.PaperTable) -> str:
    about = " Its figures were read off a plot." if table.approximate else ""
    note = f" {table.note}" if table.note else ""
    remark = f" {compared.remark}" if compared.remark else ""
    arms = [arm for _, members, _ in compared.rows for arm in members]
    return (
        f"{table.title}: {table.source} (of arXiv 2501.00663).{about}{note} "
        "Ours: the mean over the finished seeds, ± half of the 95 % t interval if there are two or "
        f"more.{remark} The scales differ: {_scale(arms)}; the paper's language models have at least 170M "
        "parameters and read at least 15B tokens. Compare the order of the models, not the figures."
    )


def _scale(arms: Sequence[Arm]) -> str:
    results = [one.result for arm in arms for one in arm.done]
    sizes = [result.parameters for result in results if result.parameters]
    trained = [result.tokens for result in results if result.tokens]
    return f"ours have {_range(sizes)} parameters and were trained on {_range(trained)} tokens"


def _range(values: Sequence[float]) -> str:
    ends = [shown.short(end) for end in (min(values, default=None), max(values, default=None))]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _language(material: Material, design: Design) -> Iterator[Compared]:
    parts = {"ids": material.ids, "by_then": material.by_then("finished")}
    rows = material.evidence.ask("harness", HARNESS.format(**parts, tasks=", ".join(map(quoted, TASKS))))
    by_run: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        by_run.setdefault(row["run_id"], {})[row["task"], row["metric"]] = row["value"]
    known = paper.tables()["language-340M"]
    found = {run: dict(zip(known.columns, language_row(each).values(), strict=True)) for run, each in by_run.items()}
    models = tuple((arm.label, (arm,), figures) for arm in design.arms if (figures := _by_column(arm, found)))
    if models:
        fewest = min(row["count"] for row in rows)
        remark = f"Zero-shot; each figure is a mean over at least {fewest:,} answers."
        yield Compared("language", (known, paper.tables()["language-400M"]), models, ("harness",), 2, remark)


def _by_column(arm: Arm, found: Mapping[str, Mapping[str, float | None]]) -> Figures:
    figures: dict[str, list[float]] = {}
    for outcome in arm.done:
        for column, value in found.get(outcome.run.run_id, {}).items():
            if value is not None:
                figures.setdefault(column, []).append(value)
    return figures


def _needles(material: Material, design: Design) -> Iterator[Compared]:
    for facet in facets(material, design):
        kind, _, template = facet.setting.partition(", ")
        if facet.task == "needle" and kind in NEEDLES and facet.arms:
            remark = f"Ours: lengths in bytes, template {template or 'ruler'}, not RULER-comparable."
            name = NEEDLES[kind] + (f"-{template}" if template else "")
            yield Compared(name, (paper.tables()[NEEDLES[kind]],), _by_length(facet.arms), (LENGTHS,), 1, remark)


def _babilong(material: Material, design: Design) -> Iterator[Compared]:
    for facet in facets(material, design):
        if facet.task == "babilong" and facet.arms:
            remark = f"Ours: {facet.setting}, lengths in bytes, not fine-tuned from a larger model."
            name = f"babilong-{facet.setting}"
            yield Compared(name, (paper.tables()["babilong"],), _by_length(facet.arms), (LENGTHS,), 1, remark)


def _by_length(arms: Mapping[Arm, Mapping[int, Answers]]) -> tuple[tuple[str, tuple[Arm, ...], Figures], ...]:
    return tuple(
        (
            arm.label,
            (arm,),
            {tokens(length): [PERCENT * share for share in each.shares] for length, each in found.items()},
        )
        for arm, found in arms.items()
    )


def _mad(material: Material, design: Design) -> Iterator[Compared]:
    """Yield MAD's score by variant: the mean over levels of the best setting at each (studies/mad.sql)."""
    variants = dict.fromkeys(_variant(arm) for arm in design.arms if _task(arm) in MAD and material.own)
    models = [(variant, *_mad_row(variant, design)) for variant in variants]
    models = [model for model in models if model[2]]
    if models:
        remark = "The mean over the finished levels of difficulty, with the best setting of each."
        yield Compared("mad", (paper.tables()["mad"],), tuple(models), ("runs",), 1, remark)


def _mad_row(variant: str, design: Design) -> tuple[tuple[Arm, ...], Figures]:
    arms = tuple(arm for arm in design.arms if _variant(arm) == variant and _task(arm) in MAD and arm.summary)
    best: dict[str, dict[str, float]] = {}
    for arm in arms:
        levels = best.setdefault(MAD[_task(arm)], {})
        assert arm.summary
        config, score = arm.outcomes[0].run.config, arm.summary.mean
        level = repr((config.task.read(), config.train.seq_len))
        levels[level] = max(score, levels.get(level, score))
    return arms, {column: [PERCENT * sum(each.values()) / len(each)] for column, each in best.items()}


def _variant(arm: Arm) -> str:
    return arm.outcomes[0].run.config.model.variant


def _task(arm: Arm) -> str:
    return arm.outcomes[0].run.config.task.name


def _forecasts(material: Material, design: Design) -> Iterator[Compared]:
    """Yield the mean over the four horizons of each data set by variant; a set that lacks a horizon is left out."""
    if not any(_task(arm) == "series" for arm in design.arms):
        return
    errors: dict[tuple[str, str], float] = {}
    for row in material.evidence.ask("forecasts", FORECASTS.format(ids=material.ids)):
        errors[row["run_id"], row["metric"]] = row["value"]
    models = []
    for variant in dict.fromkeys(map(_variant, design.arms)):
        arms = tuple(arm for arm in design.arms if _variant(arm) == variant)
        if figures := _over_horizons([one for arm in arms for one in arm.done], errors):
            models.append((variant, arms, figures))
    if models:
        yield Compared("time-series", (paper.tables()["time-series"],), tuple(models), ("forecasts",), 3)


def _over_horizons(outcomes: Sequence[Outcome], errors: Mapping[tuple[str, str], float]) -> Figures:
    """Return the mean over the horizons of every data set and error, for each seed that has them all."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for one in outcomes:
        settings = one.run.config.task.settings
        assert isinstance(settings, SeriesSettings)
        source, horizon = str(one.run.config.data.path).rpartition("/")[2].split(".")[0], settings.horizon
        for metric in ("MSE", "MAE"):
            if (one.run.run_id, metric) in errors:
                found.setdefault((f"{source} {metric}", one.run.seed), {})[horizon] = errors[one.run.run_id, metric]
    figures: dict[str, list[float]] = {}
    for (column, _), by_horizon in found.items():
        if by_horizon.keys() >= HORIZONS:
            figures.setdefault(column, []).append(sum(by_horizon[each] for each in HORIZONS) / len(HORIZONS))
    return figures
