"""The throughput of every arm, and by the lengths and chunk sizes that a study varies."""

from __future__ import annotations

from titans_lab.report import plot
from titans_lab.report.arms import Arm, Design
from titans_lab.report.axis import octaves
from titans_lab.report.data import Outcome
from titans_lab.report.format import integer
from titans_lab.report.lines import bars, rounded
from titans_lab.report.plot import Figure, Json

ROW = 44  # pixels of an arm
FEW_TICKS = 6  # so that a phone can show their names
#: The keys that are numbers of tokens and that the speed depends on, and their titles on an axis.
SIZES = {
    "train.seq_len": "length of a sequence",
    "model.memory.chunk_size": "chunk of the memory",
    "model.segment_len": "segment",
    "model.window": "window of attention",
}


def throughput(design: Design) -> Figure | None:
    """Return the tokens per second of every seed, a row for each arm, or None without a measurement."""
    arms = [arm for arm in design.arms if arm.measured("tokens_per_second")]
    if not arms:
        return None
    rows = list(range(len(arms), 0, -1))
    traces = [trace for arm, row in zip(arms, rows, strict=True) for trace in _row(arm, row)]
    spoken = "; ".join(f"{arm.label}: {integer(arm.mean('tokens_per_second'))} tokens per second" for arm in arms)
    return Figure(
        name="throughput",
        title="Throughput",
        caption="Training tokens per second (median over a run): one dot per finished seed; the bar is their mean.",
        alt=f"Dot plot of the training tokens per second. {spoken}.",
        traces=traces,
        layout=plot.layout(
            {"title": "tokens per second", "rangemode": "tozero", "tickformat": "~s", "nticks": FEW_TICKS},
            {"title": "", "visible": False, "range": (0.5, len(arms) + 0.8)},
            height=80 + ROW * len(arms),
            annotations=[plot.above(plot.text(arm.label), row) for arm, row in zip(arms, rows, strict=True)],
        ),
        queries=("runs",),
    )


def throughput_by(key: str, design: Design) -> Figure | None:
    """Return the tokens per second against a varied number, with a line for each combination of the others."""
    lines = [line for line in _lines(key, design) if len(line) > 1]
    if not lines:
        return None
    name, ticks = SIZES[key], sorted({value for line in lines for value in line})
    return Figure(
        name=f"throughput-{key.rpartition('.')[2].replace('_', '-')}",
        title=f"Throughput by {name}",
        caption="Training tokens per second (median over a run): one dot per finished seed, a line through the means, "
        "and bars from the slowest to the fastest seed.",
        alt=f"Line plot of the training tokens per second against the {name}.",
        traces=[trace for line in lines for trace in _line(line)],
        layout=plot.layout(
            {"title": f"{name}, tokens"} | octaves(ticks),
            {"title": "tokens per second", "rangemode": "tozero", "tickformat": "~s"},
        ),
        queries=("runs",),
    )


def _lines(key: str, design: Design) -> list[dict[float, Arm]]:
    """Return the groups of arms that differ only in `key`, each by the value of `key`."""
    lines: dict[str, dict[float, Arm]] = {}
    for arm in design.arms:
        factors = dict(arm.outcomes[0].run.factors)
        value = factors.pop(key, None)
        if isinstance(value, int) and arm.measured("tokens_per_second"):
            lines.setdefault(repr(factors), {})[value] = arm
    return list(lines.values())


def _line(line: dict[float, Arm]) -> list[Json]:
    """Return a line through the means, and each arm's seeds with their range."""
    speeds = {value: arm.measured("tokens_per_second") for value, arm in sorted(line.items())}
    means = {value: sum(each) / len(each) for value, each in speeds.items()}
    shades = {plot.colour(arm) for arm in line.values()}
    shade = shades.pop() if len(shades) == 1 else plot.MUTED
    through = {"x": list(means), "y": rounded(means.values()), "line": {"color": shade, "width": 1.5}}
    path = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False} | through
    return [path, *(trace for value, arm in line.items() for trace in _seeds_at(arm, value, speeds[value]))]


def _seeds_at(arm: Arm, value: float, speeds: list[float]) -> list[Json]:
    mean = sum(speeds) / len(speeds)
    hover = [f"{arm.label}: {integer(speed)} tokens/s, {integer(mean)} on average" for speed in speeds]
    whole = bars(arm, [mean], [min(speeds)], [max(speeds)])
    middle = plot.mean_bar(arm, value, mean) | {"error_y": whole}
    return [plot.dots(arm, [value] * len(speeds), speeds, hover), middle]


def _row(arm: Arm, row: int) -> list[Json]:
    timed = [outcome for outcome in arm.done if outcome.result.tokens_per_second]
    speeds = [_speed(outcome) for outcome in timed]
    hover = [f"{arm.label}, seed {one.run.seed}: {integer(_speed(one))} tokens/s" for one in timed]
    mean = plot.mean_bar(arm, sum(speeds) / len(speeds), row, vertical=True)
    return [plot.dots(arm, speeds, [row] * len(speeds), hover), mean]


def _speed(outcome: Outcome) -> float:
    return outcome.result.tokens_per_second or 0.0
