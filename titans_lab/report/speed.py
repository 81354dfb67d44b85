"""The figures of what a score costs: throughput, and the score against it."""

from __future__ import annotations

from titans_lab.report import plot
from titans_lab.report.arms import Arm, Design
from titans_lab.report.data import Outcome
from titans_lab.report.format import integer, score
from titans_lab.report.plot import Figure, Json
from titans_lab.study.tasks import Measure

ROW = 44  # pixels of an arm


def throughput(design: Design) -> Figure | None:
    """Tokens per second of every seed, an arm a row; None where none was measured."""
    arms = [arm for arm in design.arms if arm.measured("tokens_per_second")]
    if not arms:
        return None
    rows = list(range(len(arms), 0, -1))
    traces = [trace for arm, row in zip(arms, rows, strict=True) for trace in _row(arm, row)]
    return Figure(
        name="throughput",
        title="Throughput",
        caption="Training tokens per second, the median over a run: a dot for every done seed, a bar at their mean.",
        alt=f"Dot plot of the training tokens per second. {_spoken(arms)}",
        traces=traces,
        layout=plot.layout(
            {"title": "tokens per second", "rangemode": "tozero", "tickformat": "~s"},
            {"title": "", "visible": False, "range": (0.5, len(arms) + 0.8)},
            height=80 + ROW * len(arms),
            annotations=[_name(arm, row) for arm, row in zip(arms, rows, strict=True)],
        ),
        queries=("runs",),
    )


def score_against_throughput(design: Design, measure: Measure) -> Figure | None:
    """Every seed by its speed and its score; None where none has both."""
    traces = [_cloud(arm, legend=len(design.arms) > 1) for arm in design.arms if _priced(arm)]
    if not traces:
        return None
    return Figure(
        name="score-throughput",
        title=f"{measure.name.capitalize()} against throughput",
        caption=f"A dot for every done seed. Further {_better(measure)} and further right is better on both counts.",
        alt=f"Scatter plot of the final {measure.name} against the tokens per second; the table of runs has the "
        "numbers.",
        traces=traces,
        layout=plot.layout({"title": "tokens per second", "tickformat": "~s"}, {"title": f"final {measure.label}"}),
        queries=("runs",),
    )


def _better(measure: Measure) -> str:
    return "down" if measure.direction == "lower" else "up"


def _row(arm: Arm, row: int) -> list[Json]:
    timed = [outcome for outcome in arm.done if outcome.result.tokens_per_second]
    speeds = [_speed(outcome) for outcome in timed]
    hover = [f"{arm.label}, seed {one.run.seed}: {integer(_speed(one))} tokens/s" for one in timed]
    mean = plot.mean_bar(arm, sum(speeds) / len(speeds), row, vertical=True)
    return [plot.dots(arm, speeds, [row] * len(speeds), hover), mean]


def _cloud(arm: Arm, legend: bool) -> Json:
    priced = _priced(arm)
    hover = [
        f"{arm.label}, seed {one.run.seed}: {score(one.score)} at {integer(_speed(one))} tokens/s" for one in priced
    ]
    y = [one.score for one in priced if one.score is not None]
    return plot.dots(arm, [_speed(one) for one in priced], y, hover, showlegend=legend)


def _priced(arm: Arm) -> list[Outcome]:
    return [one for one in arm.done if one.score is not None and one.result.tokens_per_second]


def _speed(outcome: Outcome) -> float:
    return outcome.result.tokens_per_second or 0.0


def _name(arm: Arm, row: int) -> Json:
    """The arm's label above its dots, where it takes no width from them."""
    place = {"xref": "paper", "x": 0, "xanchor": "left", "y": row, "yanchor": "bottom", "yshift": 8}
    return {"text": plot.text(arm.label), "showarrow": False, "font": {"size": 12, "color": plot.INK}} | place


def _spoken(arms: list[Arm]) -> str:
    return "; ".join(f"{arm.label}: {integer(arm.mean('tokens_per_second'))} tokens per second" for arm in arms) + "."
