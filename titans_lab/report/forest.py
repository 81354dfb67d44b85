"""The forest plot: each arm's difference from the baseline, one dot per seed."""

from __future__ import annotations

from titans_lab.quantities import plural
from titans_lab.report import plot
from titans_lab.report.arms import Design
from titans_lab.report.axis import score_range
from titans_lab.report.data import Material
from titans_lab.report.differences import ArmDifference, ComparedArms, compare_arms
from titans_lab.report.format import p_value, signed
from titans_lab.report.plot import Figure, Json
from titans_lab.run.metric import Metric

ROW = 54  # pixels for each arm
FRAME = 96  # pixels above and below
READING = (
    "One dot per seed; the bar is the mean and the line its 95 % t interval, which is not adjusted for the number of "
    "arms and is cut at the frame. Verdict: a t test whose p, adjusted by Holm's method over {arms}, is below 0.05. "
    "The sign-flip test assumes no distribution; its p cannot be small with few seeds. Effect sizes are in standard "
    "deviations across seeds."
)


def forest(material: Material, design: Design) -> Figure | None:
    """Return the plot with a row for every arm but the baseline; None if no difference is known."""
    compared, metric = compare_arms(design, material.metric), material.metric
    if compared is None or not any(pair.by_seed for pair in compared.pairs):
        return None
    places, good = list(range(len(compared.pairs))), "below" if metric.direction == "minimize" else "above"
    rows = list(zip(compared.pairs, places, strict=True))
    return Figure(
        name="forest",
        title=f"Differences from the {compared.base}",
        caption=_caption(compared, metric),
        alt=f"Forest plot of the differences in {metric.name}; the table above has the numbers.",
        traces=[*(_seeds(pair, place) for pair, place in rows), *(_mean(pair, place) for pair, place in rows)],
        layout=plot.layout(
            {"title": f"{metric.unit} ({good} 0: better)", "range": _range(compared)},
            {"title": "", "visible": False, "range": (len(places) - 0.5, -0.7)},
            height=FRAME + ROW * len(places),
            shapes=[plot.reference_line(x0=0, x1=0, y0=0, y1=1, xref="x", yref="paper")],
            annotations=[_name(pair, place) for pair, place in rows],
        ),
        queries=("runs",),
    )


def _range(compared: ComparedArms) -> tuple[float, float]:
    """Return a range that shows all seeds, and intervals as far as there is room: those of two seeds are very wide."""
    known = [(pair.found.mean, pair.found.half_width) for pair in compared.pairs]
    ends = [mean + side * half for mean, half in known if mean is not None and half is not None for side in (-1, 1)]
    return score_range([0.0, *(value for pair in compared.pairs for value in pair.by_seed.values())], ends)


def _name(pair: ArmDifference, place: int) -> Json:
    """Return the arm's name and verdict above its dots, where they take no width from the figure."""
    diverged = f", {pair.found.diverged} diverged" if pair.found.diverged else ""
    return plot.above(f"{plot.text(pair.arm.label)}: <i>{pair.found.verdict}{diverged}</i>", place)


def _seeds(pair: ArmDifference, place: int) -> Json:
    hover = [f"{pair.arm.label}, seed {seed}: {signed(value)}" for seed, value in pair.by_seed.items()]
    small = {"color": plot.colour(pair.arm), "symbol": plot.symbol(pair.arm), "size": 7, "opacity": 0.55}
    return plot.dots(pair.arm, list(pair.by_seed.values()), [place] * len(hover), hover, marker=small)


def _mean(pair: ArmDifference, place: int) -> Json:
    found = pair.found
    if found.mean is None:
        return plot.dots(pair.arm, [], [], [])
    bar = plot.mean_bar(pair.arm, found.mean, place, vertical=True)
    bar["hovertemplate"] = f"{plot.text(_spoken(pair))}<extra></extra>"
    if found.half_width is None:
        return bar
    whisker = {"type": "data", "array": [found.half_width], "thickness": 2.2, "width": 0}
    return bar | {"error_x": whisker | {"color": plot.colour(pair.arm)}}


def _spoken(pair: ArmDifference) -> str:
    found = pair.found
    half = f" ± {found.half_width:.4f}" if found.half_width is not None else ""
    return f"{pair.arm.label}: {signed(found.mean)}{half}, p {p_value(found.adjusted)}, {found.verdict}"


def _caption(compared: ComparedArms, metric: Metric) -> str:
    lines = [READING.format(arms=plural(len(compared.pairs), "arm"))]
    if any(not pair.found.paired for pair in compared.pairs):
        lines += [" Unpaired arms saw other batches than the baseline; their test is Welch's."]
    if any(pair.found.given_convergence for pair in compared.pairs):
        lines += [" † Conditional on convergence: diverged seeds are left out."]
    if compared.detectable is not None:
        found = f"{compared.detectable:.3g} {metric.unit}"
        lines += [
            f" At {plural(compared.fewest, 'seed')} this study can detect a difference of {found} with 80 % power."
        ]
    return "".join(lines)
