"""The final score against speed and against memory, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from titans_lab.quantities import plural
from titans_lab.report import plot
from titans_lab.report.arms import Arm, Design
from titans_lab.report.format import integer, join, memory, score
from titans_lab.report.lines import rounded
from titans_lab.report.plot import Figure, Json
from titans_lab.run.metric import Metric
from titans_lab.stats.interval import Summary, summarise
from titans_lab.stats.pareto import front

MIB = 2**20
DIVERGED = " †"


@dataclass(frozen=True)
class Price:
    """A cost that a score is compared with.

    Attributes:
        name: The name on the page.
        column: The column of the view `runs`.
        unit: The unit on the page, as a multiple of the column's unit.
        axis: The layout of the axis.
        dear: Whether a higher value is a higher cost, as of memory, and not of speed.
    """

    name: str
    column: str
    unit: float
    axis: Json
    dear: bool


SPEED = Price("throughput", "tokens_per_second", 1, {"title": "tokens per second", "tickformat": "~s"}, dear=False)
MEMORY = Price("peak memory", "peak_memory_bytes", MIB, {"title": "peak memory, MiB"}, dear=True)


@dataclass(frozen=True, eq=False)
class PricedArm:
    """An arm by its done seeds that have both figures.

    Attributes:
        arm: The arm.
        seeds: The seeds that have a price and a score.
        prices: The price of each seed.
        scores: The score of each seed.
    """

    arm: Arm
    seeds: tuple[int, ...]
    prices: tuple[float, ...]
    scores: tuple[float, ...]

    @property
    def name(self) -> str:
        """Return the arm's label, with a mark if seeds diverged: then its means are over the converged seeds only."""
        return f"{self.arm.label}{DIVERGED if self.diverged else ''}"

    @property
    def diverged(self) -> int:
        """Return the number of seeds that diverged."""
        return self.arm.count("diverged")

    @property
    def price(self) -> Summary:
        """Return the summary of the prices over the seeds."""
        return summarise(self.prices)

    @property
    def score(self) -> Summary:
        """Return the summary of the scores over the seeds."""
        return summarise(self.scores)


def against(price: Price, design: Design, metric: Metric) -> Figure | None:
    """Return every seed, every mean and the Pareto front; None without both figures, or for several tasks."""
    points = [point for arm in design.arms if (point := _point(arm, price)).seeds]
    if not points or len({point.arm.judged_by for point in points}) > 1:
        return None
    best = _front(points, price, metric)
    better = "down" if metric.direction == "minimize" else "up"
    return Figure(
        name=f"score-{price.name.replace(' ', '-')}",
        title=f"{metric.name.capitalize()} against {price.name}",
        caption="Small dots are finished seeds; large dots are an arm's means, with 95 % t intervals in both "
        f"directions (two seeds or more). Further {better} and further {'left' if price.dear else 'right'} is better. "
        "The line is the Pareto front of the means: no arm is better in one respect without being worse in the other. "
        f"It ignores the intervals. On the front: {join([point.name for point in best], most=8)}.{_given(points)}",
        alt=f"Scatter plot of the {metric.taken} {metric.name} against {price.name}. On the Pareto front: "
        f"{'; '.join(_described(point, price) for point in best)}.",
        traces=[
            *([_line(best, price)] if len(points) > 1 else []),
            *(_seeds(point, price) for point in points),
            *(_mean(point, price, point in best, legend=plot.named(len(points))) for point in points),
        ],
        layout=plot.layout(price.axis, {"title": f"{metric.taken} {metric.label}"}),
        queries=("runs",),
    )


def _point(arm: Arm, price: Price) -> PricedArm:
    found = [
        (one.run.seed, value / price.unit, one.score)
        for one in arm.done
        if one.score is not None and (value := getattr(one.result, price.column))
    ]
    seeds, prices, scores = (tuple(each) for each in zip(*found, strict=True)) if found else ((), (), ())
    return PricedArm(arm, seeds, prices, scores)


def _front(points: Sequence[PricedArm], price: Price, metric: Metric) -> list[PricedArm]:
    """Return the points on the Pareto front, ordered by price."""
    cost, loss = (1 if price.dear else -1), (1 if metric.direction == "minimize" else -1)
    kept = front([(cost * point.price.mean, loss * point.score.mean) for point in points])
    return sorted((points[index] for index in kept), key=lambda point: point.price.mean)


def _given(points: Sequence[PricedArm]) -> str:
    """Return a sentence about the seeds that the means leave out."""
    spoiled = [point for point in points if point.diverged]
    counts = [f"{point.arm.label}: {point.diverged} of {len(point.arm.outcomes)}" for point in spoiled]
    seeds = f"{DIVERGED.strip()} Conditional on convergence: the means leave out diverged seeds"
    return f" {seeds} ({join(counts, most=8)})." if counts else ""


def _line(best: list[PricedArm], price: Price) -> Json:
    """Return the best score for at most a memory, or for at least a speed."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": rounded(point.price.mean for point in best),
        "y": rounded(point.score.mean for point in best),
        "line": {"color": plot.MUTED, "width": 1.5, "shape": "hv" if price.dear else "vh"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _seeds(point: PricedArm, price: Price) -> Json:
    small = {"color": plot.colour(point.arm), "symbol": plot.symbol(point.arm), "size": 6, "opacity": 0.45}
    hover = [
        f"{point.arm.label}, seed {seed}: {score(value)} at {_amount(cost, price)}"
        for seed, cost, value in zip(point.seeds, point.prices, point.scores, strict=True)
    ]
    return plot.dots(point.arm, rounded(point.prices), point.scores, hover, marker=small)


def _mean(point: PricedArm, price: Price, kept: bool, legend: bool) -> Json:
    edge = {"width": 2, "color": plot.INK} if kept else {"width": 0, "color": plot.INK}
    marker = {"color": plot.colour(point.arm), "symbol": plot.symbol(point.arm), "size": 12, "line": edge}
    diverged = f", {plural(point.diverged, 'seed')} diverged" if point.diverged else ""
    words = f"{_described(point, price)}{', on the front' if kept else ''}{diverged}"
    whiskers = {"error_x": _whisker(point, point.price), "error_y": _whisker(point, point.score)}
    dot = plot.dots(point.arm, rounded([point.price.mean]), [point.score.mean], [words], marker=marker)
    return dot | whiskers | {"name": plot.text(point.name), "showlegend": legend}


def _whisker(point: PricedArm, found: Summary) -> Json:
    half = [] if found.half_width is None else rounded([found.half_width])
    return {"type": "data", "array": half, "thickness": 1.2, "width": 4, "color": plot.colour(point.arm)}


def _described(point: PricedArm, price: Price) -> str:
    return f"{point.name}: {score(point.score.mean)} at {_amount(point.price.mean, price)}"


def _amount(value: float, price: Price) -> str:
    return memory(value * price.unit) if price.dear else f"{integer(value)} tokens/s"
