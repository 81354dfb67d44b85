"""The figure that answers the question: the final score by the varied factor."""

from __future__ import annotations

from dataclasses import dataclass

from titans_lab.quantities import plural
from titans_lab.report import plot
from titans_lab.report.arms import Arm, Design
from titans_lab.report.axis import Scale, dodge, scale, score_range, spread, with_ngram_baselines
from titans_lab.report.data import Material, NgramBaseline
from titans_lab.report.format import join, plus_minus, score
from titans_lab.report.plot import Figure, Json
from titans_lab.run.metric import ON_THE_WAY


@dataclass(frozen=True)
class Frame:
    """The axes of the figure: the values of the factor along x, the range of the scores along y."""

    design: Design
    scale: Scale
    bottom: float
    top: float

    def x(self, arm: Arm) -> float:
        """Return the x position of the arm's mean."""
        return self.scale.ticks[arm.x] + dodge(arm.group, len(self.design.groups), self.scale.gap)

    def xs(self, arm: Arm, count: int) -> list[float]:
        """Return the x positions of `count` dots of the arm, side by side."""
        return [self.x(arm) + offset for offset in spread(count, len(self.design.groups), self.scale.gap)]

    def shows(self, ngram: NgramBaseline) -> bool:
        """Return whether an n-gram baseline lies within the range."""
        return self.bottom <= ngram.bits_per_byte <= self.top


def final_score(material: Material, design: Design) -> Figure | None:
    """Return the score by the first varied factor, with the combinations of the others side by side.

    Return None without any score.
    """
    if not any(arm.scores for arm in design.arms):
        return None
    frame, metric = _frame(material, design), material.metric
    name = design.x.name if design.x else ""
    seeds = [_seeds(arm, frame) for arm in design.arms]
    means = [_mean(arm, frame) for arm in design.arms if arm.summary]
    crosses = [_crosses(arm, frame) for arm in design.arms if arm.count("diverged")]
    ticks = {"tickvals": frame.scale.ticks, "ticktext": [plot.text(words) for words in frame.scale.texts]}
    return Figure(
        name="final-score",
        title=f"{metric.taken.capitalize()} {metric.name}" + (f" by {name}" if name else ""),
        caption=_caption(material, design, frame),
        alt=f"Dot plot of the {metric.taken} {metric.name} in {metric.unit}. {_spoken(design)}",
        traces=[*_trends(frame), *seeds, *means, *crosses],
        layout=plot.layout(
            {"title": name, "range": frame.scale.span, "showgrid": False, **ticks},
            {"title": f"{metric.taken} {metric.label}", "range": (frame.bottom, frame.top)},
            **plot.ngram_baseline_lines(
                [ngram for ngram in material.ngram_baselines if frame.shows(ngram)], frame.top - frame.bottom
            ),
        ),
        queries=("runs", "ngram_baselines"),
    )


def _frame(material: Material, design: Design) -> Frame:
    scores = [value for arm in design.arms for value in arm.scores]
    summaries = [arm.summary for arm in design.arms if arm.summary and arm.summary.n > 1]
    tight = score_range(scores, [end for summary in summaries for end in (summary.low, summary.high)])
    bottom, top = with_ngram_baselines(tight, [ngram.bits_per_byte for ngram in material.ngram_baselines])
    return Frame(design, scale(design.x.values if design.x else ("",)), bottom, top)


def _seeds(arm: Arm, frame: Frame) -> Json:
    done = [outcome for outcome in arm.outcomes if outcome.score is not None]
    hover = [f"{arm.label}, seed {outcome.run.seed}: {score(outcome.score)}" for outcome in done]
    return plot.dots(arm, frame.xs(arm, len(done)), arm.scores, hover) | _legend(arm, frame.design)


def _legend(arm: Arm, design: Design) -> Json:
    """Return one legend entry for each of several groups."""
    first = next(each for each in design.arms if each.group == arm.group)
    shown = len(design.groups) > 1 and arm is first
    return {"name": plot.text(design.groups[arm.group]), "legendgroup": str(arm.group), "showlegend": shown}


def _mean(arm: Arm, frame: Frame) -> Json:
    assert arm.summary
    bar = plot.mean_bar(arm, frame.x(arm), arm.summary.mean, legendgroup=str(arm.group))
    if arm.summary.half_width is None:
        return bar
    whisker = {"type": "data", "array": [arm.summary.half_width], "thickness": 1.2, "width": 5}
    return bar | {"error_y": whisker | {"color": plot.colour(arm)}}


def _crosses(arm: Arm, frame: Frame) -> Json:
    """Return the diverged seeds as crosses at the top edge."""
    diverged = [outcome for outcome in arm.outcomes if outcome.result.state == "diverged"]
    edge = frame.top - 0.03 * (frame.top - frame.bottom)
    hover = [
        f"{arm.label}, seed {outcome.run.seed} diverged at step {outcome.result.diverged_step}" for outcome in diverged
    ]
    more = {"marker": plot.cross(arm), "legendgroup": str(arm.group)}
    return plot.dots(arm, frame.xs(arm, len(diverged)), [edge] * len(diverged), hover) | more


def _trends(frame: Frame) -> list[Json]:
    """Return a thin line through the means of each group if the factor is a number."""
    groups = range(len(frame.design.groups)) if frame.scale.numeric else ()
    return [_trend([arm for arm in frame.design.arms if arm.group == group and arm.summary], frame) for group in groups]


def _trend(arms: list[Arm], frame: Frame) -> Json:
    points = sorted((frame.x(arm), arm.summary.mean) for arm in arms if arm.summary)
    shade = plot.colour(arms[0]) if arms and len(frame.design.groups) > 1 else plot.MUTED
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "line": {"color": shade, "width": 1.2},
        "opacity": 0.5,
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": str(arms[0].group) if arms else "",
    }


def _caption(material: Material, design: Design, frame: Frame) -> str:
    lines = [f"{_what(material)} at the end of training: one dot per seed; the bar is the mean, and whiskers are "]
    lines += ["the 95 % t interval (two seeds or more; cut at the frame)."]
    if any(arm.count("diverged") for arm in design.arms):
        lines += [" A cross at the top marks a diverged seed, which the mean leaves out."]
    beyond = [
        f"{ngram.name} {score(ngram.bits_per_byte)}" for ngram in material.ngram_baselines if not frame.shows(ngram)
    ]
    if beyond:
        lines += [f" Outside the frame: {join(beyond)}."]
    return "".join(lines)


def _what(material: Material) -> str:
    """Return the figure and the part of the data that it is of."""
    metric = material.metric
    if metric.taken == "best":
        return f"Best validation {metric.name}"
    return f"Test {metric.name}" if metric.column in ON_THE_WAY else metric.label.capitalize()


def _spoken(design: Design) -> str:
    spoken = [
        f"{arm.label}: mean {plus_minus(arm.summary)} over {plural(arm.summary.n, 'seed')}"
        for arm in design.arms
        if arm.summary
    ]
    return "; ".join(spoken) + "."
