"""Speeds that a bench measured: their table, and the ratio to the baseline against the length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from titans_lab.report import format as shown
from titans_lab.report import plot
from titans_lab.report.arms import Arm, Design
from titans_lab.report.data import Material, Speed
from titans_lab.report.plot import Figure, Json
from titans_lab.report.section import Row, Table, cell
from titans_lab.report.tables import factor_names, spelled

COLUMNS: dict[str, Callable[[Speed], str]] = {
    "length": lambda speed: cell(shown.integer, length_tokens=speed.length),
    "tokens/s": lambda speed: cell(shown.integer, tokens_per_second=speed.tokens_per_second),
    "times the baseline": lambda speed: cell("{:.3g}".format, ratio=speed.ratio),
    "lowest": lambda speed: cell("{:.3g}".format, ratio_low=speed.ratio_low),
    "highest": lambda speed: cell("{:.3g}".format, ratio_high=speed.ratio_high),
    "share of a product": lambda speed: cell(shown.score, product_share=speed.product_share),
    "against": lambda speed: speed.setting,
}


@dataclass(frozen=True)
class SpeedSeries:
    """An arm's speeds in one setting, by length."""

    arm: Arm
    setting: str
    speeds: tuple[Speed, ...]


def side_by_side(material: Material, design: Design) -> Figure | None:
    """Return the speed ratio against the length, a line for each arm, or None without a measurement."""
    lines = _series(material, design)
    if not lines:
        return None
    settings = {line.setting for line in lines}
    lengths = sorted({speed.length for line in lines for speed in line.speeds})
    return Figure(
        name="side-by-side",
        title="Speed, measured side by side",
        caption="Tokens per second of a forward and backward pass, divided by the baseline's. Model and baseline took "
        "turns in one process; points are medians over the rounds, bars span the lowest to the highest round, and at "
        f"the dashed line both are equally fast. Measured by titans-lab bench against {shown.join(sorted(settings))}.",
        alt="Line plot of the speed over the baseline's against the length; the table above has the numbers.",
        traces=[_trace(line, several=len(lines) > 1, named=len(settings) > 1) for line in lines],
        layout=plot.layout(
            {"title": "length, tokens", "type": "log", "tickvals": lengths, "ticktext": list(map(str, lengths))},
            {"title": "speed over the baseline's", "rangemode": "tozero"},
            shapes=[plot.reference_line(y0=1, y1=1, x0=0, x1=1, xref="paper", yref="y")],
        ),
        queries=("benches",),
    )


def table(material: Material, design: Design) -> Table:
    """Return a row for every arm, setting and length."""
    rows = [
        Row(spelled(line.arm), tuple(show(speed) for show in COLUMNS.values()), line.arm.colour)
        for line in _series(material, design)
        for speed in line.speeds
    ]
    return Table(factor_names(design), tuple(COLUMNS), tuple(rows), words=("against",))


def _series(material: Material, design: Design) -> list[SpeedSeries]:
    by_setting: dict[str, list[Speed]] = {}
    for speed in material.speeds:
        by_setting.setdefault(speed.setting, []).append(speed)
    every = (
        SpeedSeries(arm, setting, tuple(speed for speed in speeds if speed.model == arm.model))
        for arm in design.arms
        for setting, speeds in by_setting.items()
    )
    return [line for line in every if line.speeds]


def _trace(line: SpeedSeries, several: bool, named: bool) -> Json:
    arm, speeds = line.arm, line.speeds
    name = f"{arm.label} against {line.setting}" if named else arm.label
    hover = [
        f"{name}, {each.length} tokens: {each.ratio:.3g} at {shown.integer(each.tokens_per_second)}/s"
        for each in speeds
    ]
    return plot.line(
        arm,
        [speed.length for speed in speeds],
        [speed.ratio for speed in speeds],
        mode="lines+markers",
        name=plot.text(name),
        marker={"color": plot.colour(arm), "symbol": plot.symbol(arm), "size": 9},
        error_y=_bars(line),
        text=[plot.text(words) for words in hover],
        hovertemplate="%{text}<extra></extra>",
        showlegend=several,
    )


def _bars(line: SpeedSeries) -> Json:
    return {
        "type": "data",
        "symmetric": False,
        "array": [speed.ratio_high - speed.ratio for speed in line.speeds],
        "arrayminus": [speed.ratio - speed.ratio_low for speed in line.speeds],
        "color": plot.colour(line.arm),
    }
