"""A study over several tasks: the interquartile mean of each model's scores over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from titans_lab.quantities import plural
from titans_lab.report import plot
from titans_lab.report.arms import BASELINE, Arm, Design, phrase, short_names
from titans_lab.report.data import Material
from titans_lab.report.format import NONE, score
from titans_lab.report.plot import Figure, Json
from titans_lab.report.section import Row, Section, Table, TableCell, cell
from titans_lab.run.comparison import judged_by
from titans_lab.run.run import Run
from titans_lab.stats.bootstrap import RESAMPLES, stratified_iqm
from titans_lab.stats.interval import Interval

FEWEST = 3  # tasks; the middle half of fewer values is no summary
ROW = 44  # pixels for each model
FRAME = 96


@dataclass(frozen=True, eq=False)
class Model:
    """The arms that differ only in their task.

    Attributes:
        name: The factors that the arms have in common, in words.
        arms: The arms by task.
    """

    name: str
    arms: Mapping[str, Arm]


@dataclass(frozen=True, eq=False)
class Standing:
    """A model over all tasks.

    Attributes:
        model: The model.
        iqm: Interquartile mean of its seeds' scores on all tasks.
    """

    model: Model
    iqm: Interval


def section(material: Material, design: Design) -> Section | None:
    """Return a row for every model; None if the study has few tasks that all models have finished."""
    models = list(_models(design))
    tasks = [
        task
        for task in dict.fromkeys(task for each in models for task in each.arms)
        if all(task in each.arms and each.arms[task].scores for each in models)
    ]
    if len(models) < 2 or len(tasks) < FEWEST:
        return None
    scale = _scale(tasks, models)
    if not _comparable(tasks, models[0], scale):
        return None
    standings = [Standing(model, stratified_iqm(_scores(model, tasks, scale))) for model in models]
    figure = _figure(standings, tasks, bool(scale))
    rows = [_row(each, tasks) for each in standings]
    table = Table(("model",), ("interquartile mean", "95\N{NO-BREAK SPACE}% interval", "mean", "seeds"), tuple(rows))
    return Section(figure.name, figure.title, ("runs",), figure.caption, figure, table)


def _models(design: Design) -> Iterator[Model]:
    keys = _task_keys([arm.outcomes[0].run for arm in design.arms])
    varied = list(dict.fromkeys(key for arm in design.arms for key in arm.outcomes[0].run.factors if key not in keys))
    names, models = short_names(varied), dict[str, dict[str, Arm]]()
    for arm in design.arms:
        factors = arm.outcomes[0].run.factors
        name = phrase({names[key]: factors.get(key, "") for key in varied})
        models.setdefault(name or BASELINE, {})[arm.judged_by] = arm
    yield from (Model(name, arms) for name, arms in models.items())


def _task_keys(runs: Sequence[Run]) -> set[str]:
    """Return the factors whose value alone decides the task."""
    found: set[str] = set()
    for key in {key for run in runs for key in run.factors}:
        others: dict[str, set[str]] = {}
        for run in runs:
            rest = repr({name: value for name, value in run.factors.items() if name != key})
            others.setdefault(rest, set()).add(judged_by(run))
        found |= {key} if any(len(tasks) > 1 for tasks in others.values()) else set()
    return found


def _scale(tasks: Sequence[str], models: Sequence[Model]) -> dict[str, float]:
    """Return the divisor of each task's scores: none if all are shares, else the first model's mean on the task."""
    metrics = {model.arms[task].outcomes[0].run.config.task.settings.METRIC for task in tasks for model in models[:1]}
    if all(metric.unit.startswith("share ") for metric in metrics):
        return {}
    return {task: summary.mean for task in tasks if (summary := models[0].arms[task].summary)}


def _comparable(tasks: Sequence[str], first: Model, scale: Mapping[str, float]) -> bool:
    """Return whether a mean over tasks is meaningful: one direction for all tasks, and no division by zero."""
    directions = {first.arms[task].outcomes[0].run.config.task.settings.METRIC.direction for task in tasks}
    return len(directions) == 1 and all(value > 0 for value in scale.values())


def _scores(model: Model, tasks: Sequence[str], scale: Mapping[str, float]) -> list[list[float]]:
    return [[value / scale.get(task, 1.0) for value in model.arms[task].scores] for task in tasks]


def _figure(standings: Sequence[Standing], tasks: Sequence[str], relative: bool) -> Figure:
    places = list(range(len(standings)))
    ticks = {"tickvals": places, "ticktext": [plot.text(each.model.name) for each in standings]}
    what = f"score over that of {standings[0].model.name}, a ratio" if relative else "score, a share"
    return Figure(
        name="across-tasks",
        title=f"Over {plural(len(tasks), 'task')}",
        caption=f"Interquartile mean of the final scores of the finished seeds on the {len(tasks)} tasks that every "
        "model has finished: the mean of the middle half, so that no single task decides. Lines are 95 % percentile "
        f"intervals of {RESAMPLES:,} bootstrap resamples of the seeds within each task (arXiv 2108.13264); they "
        "describe these tasks, not what other tasks would give.",
        alt="Dot plot of the interquartile mean over tasks; the table has the numbers.",
        traces=[_trace(each, place) for each, place in zip(standings, places, strict=True)],
        layout=plot.layout(
            {"title": f"interquartile mean of the {what}"},
            {"title": "", "range": (len(places) - 0.5, -0.5), "showgrid": False, "ticks": "", **ticks},
            height=FRAME + ROW * len(places),
        ),
        queries=("runs",),
    )


def _trace(each: Standing, place: int) -> Json:
    arm, found = next(iter(each.model.arms.values())), each.iqm
    whisker = {"type": "data", "symmetric": False, "array": [found.high - found.value]}
    whisker |= {"arrayminus": [found.value - found.low], "thickness": 2.2, "width": 0, "color": plot.colour(arm)}
    hover = f"{each.model.name}: {found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
    return plot.dots(arm, [found.value], [place], [hover], error_x=whisker)


def _row(each: Standing, tasks: Sequence[str]) -> Row:
    arms = [each.model.arms[task] for task in tasks]
    counts = [len(arm.scores) for arm in arms]
    seeds = str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    colour = arms[0].colour if len({arm.colour for arm in arms}) == 1 else None
    low, high = (each.iqm.low, each.iqm.high) if max(counts) > 1 else (None, None)
    interval = NONE if low is None else f"{low:.3f} to {high:.3f}"
    means = [summary.mean for arm in arms if (summary := arm.summary)]
    cells = (
        cell(score, interquartile_mean=each.iqm.value),
        TableCell(interval, interquartile_mean_low=low, interquartile_mean_high=high),
        cell(score, mean=sum(means) / len(means)),
        TableCell(seeds, seeds_least=min(counts), seeds_most=max(counts)),
    )
    return Row((each.model.name,), cells, colour)
