"""The figure of the learning curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from titans_lab.report import plot
from titans_lab.report.arms import Arm, Design
from titans_lab.report.data import CURVE_POINTS, POINT, CurvePoint, Material, Outcome
from titans_lab.report.format import join
from titans_lab.report.lines import rounded
from titans_lab.report.plot import Figure, Json
from titans_lab.tasks.text import BITS_PER_BYTE

EARLY = 0.2  # share of the tokens whose steep losses are ignored for the range of the axis
UNIFORM = 8.0  # bits per byte of the uniform distribution, the highest loss that the axis has to show


TRAINING = "training"
Curves = Mapping[str, Sequence[CurvePoint]]  # from run id to curve
SMOOTH = 16  # the most neighbours to either side that a reader can smooth a curve over


@dataclass(frozen=True)
class Against:
    """A quantity on the x axis of a learning curve.

    Attributes:
        name: The name of the choice, which is a field of `CurvePoint`.
        title: The title of the x axis.
    """

    name: str
    title: str


AXES = (
    Against("tokens", "training tokens"),
    Against("steps", "optimiser steps"),
    Against("seconds", "seconds of training, mean of the seeds"),
)


@dataclass(frozen=True)
class Curve:
    """The mean loss of some runs over training, with their lowest and highest loss.

    Attributes:
        x: The places along each of `AXES` that every point has, by its name.
        loss: The mean at each place.
        low: The lowest loss of a run there.
        high: The highest loss of a run there.
    """

    x: dict[str, list[float]]
    loss: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Drawing:
    """The curves of one kind of loss.

    Attributes:
        title: The title of the y axis.
        range: The range of the y axis.
        traces: The traces by the name of one of `AXES` that every curve has.
    """

    title: str
    range: tuple[float, float]
    traces: dict[str, list[Json]]

    def places(self, axis: Against) -> list[list[float]]:
        """Return x of every trace."""
        return [trace["x"] for trace in self.traces[axis.name]]

    def series(self, axes: Sequence[Against]) -> Json:
        """Return the series for `plot.Controls`. A trace that this kind of loss lacks is empty."""
        y = [trace["y"] for trace in self.traces[axes[0].name]]
        return {"title": self.title, "range": self.range, "y": y, "places": [self.places(axis) for axis in axes]}


@dataclass(frozen=True)
class Single:
    """A run that is not done, and so is drawn by itself."""

    arm: Arm
    outcome: Outcome
    curve: Curve


def learning_curves(material: Material, design: Design) -> Figure | None:
    """Return the mean curve of each arm over its done seeds, and each other run's own curve.

    Return None before the first line of metrics.
    """
    if not material.curves:
        return None
    kinds = {material.curve_kind: material.curves}
    if material.curve_kind != TRAINING and material.training_curves.keys() == material.curves.keys():
        kinds[TRAINING] = material.training_curves
    drawings = [_drawing(material, design, kind, curves) for kind, curves in kinds.items()]
    first, *others = drawings
    axes = [axis for axis in AXES if all(axis.name in each.traces for each in drawings)]
    singles = _singles(design, material.curves)
    return Figure(
        name="learning-curves",
        title="Learning curves",
        caption=_caption(material, bool(singles)),
        alt=f"Line plot of the {material.curve_kind} {material.loss.name} in {material.loss.unit} against training "
        "tokens, a line for every arm; the table of arms has the final values.",
        traces=first.traces[axes[0].name],
        layout=plot.layout(
            {"title": axes[0].title, "tickformat": "~s", "rangemode": "tozero", "showgrid": False, "nticks": 6},
            {"title": first.title, "range": first.range},
        ),
        queries=("curves", "runs"),
        controls={
            "smooth": SMOOTH,
            "x": [{"name": axis.name, "title": axis.title, "places": first.places(axis)} for axis in axes],
            **({"choices": [{"label": "Loss", "options": list(kinds)}]} if others else {}),
            **({"series": [each.series(axes) for each in drawings]} if others else {}),
        },
    )


def _drawing(material: Material, design: Design, kind: str, curves: Curves) -> Drawing:
    """Return the curves of a kind of loss: those of `material`, or another kind's."""
    means = {arm: curve for arm in design.arms if (curve := _mean(curves, arm.done)).loss}
    singles = _singles(design, curves)
    whole = [*means.values(), *(single.curve for single in singles)]
    finals = _finals(material, design) if kind != TRAINING else {}
    highest = UNIFORM if material.loss == BITS_PER_BYTE else math.inf
    bottom, top = _range(list(means.values()) or whole, highest, list(finals.values()))
    edge = top - 0.03 * (top - bottom)
    traces = {
        axis.name: [*_traces(means, singles, edge, axis), *_final_dots(material, finals, axis)]
        for axis in AXES
        if all(axis.name in curve.x for curve in whole)
    }
    return Drawing(f"{kind} {material.loss.label}", (bottom, top), traces)


def _finals(material: Material, design: Design) -> dict[Arm, float]:
    """Return the mean final loss of every arm, over all of its validation data."""
    losses = {arm: [loss for loss in arm.measured("valid_loss") if math.isfinite(loss)] for arm in design.arms}
    return {arm: math.fsum(each) / len(each) for arm, each in losses.items() if each}


def _final_dots(material: Material, finals: dict[Arm, float], axis: Against) -> list[Json]:
    """Return the final validation of each arm, at the end of its training."""
    return [
        plot.dots(
            arm,
            _mean(material.training_curves, arm.done).x.get(axis.name, [])[-1:],
            [loss],
            [f"{arm.label}: {loss:.3f} at the end, over all of the validation data"],
            legendgroup=arm.label,
        )
        for arm, loss in finals.items()
    ]


def _singles(design: Design, curves: Curves) -> list[Single]:
    return [
        Single(arm, outcome, _mean(curves, [outcome]))
        for arm in design.arms
        for outcome in arm.outcomes
        if outcome.run.run_id in curves and outcome not in arm.done
    ]


def _traces(means: dict[Arm, Curve], singles: list[Single], edge: float, axis: Against) -> list[Json]:
    several = plot.named(len({*means, *(single.arm for single in singles)}))
    unnamed = {single.arm: single for single in reversed(singles) if single.arm not in means}
    traces = [trace for arm, curve in means.items() for trace in _arm_traces(arm, curve, several, axis)]
    for single in singles:
        traces += _single_traces(single, edge, several and unnamed.get(single.arm) is single, axis)
    return traces


def _mean(curves: Curves, outcomes: Iterable[Outcome]) -> Curve:
    intervals: dict[int, list[CurvePoint]] = {}
    for outcome in outcomes:
        for point in curves.get(outcome.run.run_id, []):
            intervals.setdefault(point.bucket, []).append(point)
    ordered = [intervals[bucket] for bucket in sorted(intervals)]
    losses = [[point.loss for point in points] for points in ordered]
    return Curve(
        x=_places(ordered),
        loss=rounded(math.fsum(values) / len(values) for values in losses),
        low=rounded(min(values) for values in losses),
        high=rounded(max(values) for values in losses),
    )


def _places(intervals: list[list[CurvePoint]]) -> dict[str, list[float]]:
    """Return the end of each interval: the largest tokens and steps, and the mean of the seconds."""
    if any(point.steps is None for points in intervals for point in points):
        return {"tokens": [max(point.tokens for point in points) for points in intervals]}
    counts = {name: [max(getattr(point, name) for point in points) for points in intervals] for name in POINT[1:3]}
    seconds = [[point.seconds for point in points if point.seconds is not None] for points in intervals]
    if not all(seconds):
        return counts
    return counts | {"seconds": rounded(math.fsum(each) / len(each) for each in seconds)}


def _range(curves: list[Curve], highest: float, finals: list[float]) -> tuple[float, float]:
    """Return the range from the lowest loss to the highest after the steep start, with the final ones."""
    early = EARLY * max(curve.x["tokens"][-1] for curve in curves)
    points = [point for curve in curves for point in zip(curve.x["tokens"], curve.low, curve.high, strict=True)]
    bottom = min([*finals, *(low for _, low, _ in points)])
    top = min(highest, max([*finals, *(high for tokens, _, high in points if tokens >= early)]))
    margin = 0.06 * max(top - bottom, 0.1)
    return bottom - margin, max(top, bottom) + margin


def _arm_traces(arm: Arm, curve: Curve, legend: bool, axis: Against) -> list[Json]:
    hover = f"{plot.text(arm.label)}<br>%{{x:,.4~s}}: %{{y:.3f}}<extra></extra>"
    places = curve.x[axis.name]
    named = {"name": plot.text(arm.label), "legendgroup": arm.label, "showlegend": legend, "hovertemplate": hover}
    line = plot.line(arm, places, curve.loss) | named
    return [plot.band(arm, places, curve.low, curve.high), line] if len(arm.done) > 1 else [line]


def _single_traces(single: Single, edge: float, legend: bool, axis: Against) -> list[Json]:
    """Return a thin dotted line; a diverged run gets a cross at its end or at the frame."""
    arm, outcome, curve, places = single.arm, single.outcome, single.curve, single.curve.x[axis.name]
    words = plot.text(f"{arm.label}, seed {outcome.run.seed}: {outcome.result.state}")
    thin = {"color": plot.colour(arm), "dash": "dot", "width": 1.2}
    more = {"line": thin, "legendgroup": arm.label, "showlegend": legend, "hovertemplate": f"{words}<extra></extra>"}
    line = plot.line(arm, places, curve.loss) | more
    if outcome.result.state != "diverged":
        return [line]
    end = plot.dots(arm, places[-1:], [min(curve.loss[-1], edge)], [words], legendgroup=arm.label)
    return [line, end | {"marker": plot.cross(arm)}]


def _caption(material: Material, alone: bool) -> str:
    what = "the mean over an arm's finished seeds, with a band from the lowest to the highest seed"
    points = f"A curve has at most {CURVE_POINTS} points, each the mean of the logged losses around it"
    legend = " A click on a name in the legend hides its arm, and a double click shows it alone."
    rest = " Thin dotted lines are single unfinished runs; a cross marks a divergence." if alone else ""
    return f"{_kind(material)}: {what}. {points}. The steep start may leave the frame.{_ends(material)}{legend}{rest}"


def _ends(material: Material) -> str:
    if material.curve_kind == TRAINING:
        return ""
    return " The dot at the end is the arm's final loss, over all of the validation data."


def _kind(material: Material) -> str:
    """Return whose loss is drawn: validation during training is on a part of the data, so it may end elsewhere."""
    if material.curve_kind == "training":
        return "Training loss"
    sizes = sorted({outcome.run.config.log.valid_bytes for outcome in material.outcomes})
    what = f"{'bytes' if material.loss == BITS_PER_BYTE else 'tokens'} of the validation part"
    return f"Validation loss on the first {join([f'{size:,}' for size in sizes])} {what}"
