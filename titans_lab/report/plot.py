"""The building blocks of figures, as Plotly's JSON, in the colours of the light page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, TypedDict

from titans_lab.errors import UserError, install
from titans_lab.report.arms import DASHES, PALETTE, SYMBOLS, Arm
from titans_lab.report.data import NgramBaseline

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: The page's own colours as (light, dark).
TONES = {
    "ink": ("#1c1f23", "#e6e8eb"),
    "muted": ("#5c636b", "#a3aab2"),
    "rule": ("#e3e6e9", "#2f343a"),
    "line": ("#868e96", "#6d757d"),
    "paper": ("#ffffff", "#15181b"),
}
INK, MUTED, RULE, LINE, PAPER = (light for light, _ in TONES.values())
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
CONFIG = {
    "showSendToCloud": False,
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}
NAME_HEIGHT = 0.05  # share of a frame's height that the name of a line takes
MOST_NAMED = 16  # the most arms of a legend; beyond, only the hover text names them

Json = dict[str, Any]


class Controls(TypedDict, total=False):
    """The controls of a figure. `traces` and `layout` show the first option of each choice.

    Attributes:
        choices: Lists to choose from, `label` and `options` each.
        series: For every combination of options, the last choice varying fastest: `title` of the y axis, and `y` of
            every trace; where they differ, also `range` of that axis, and `places` of every trace on each axis of `x`.
        x: Other x axes: `name` in the list, `title` of the axis, `places` of every trace, `type` where it differs.
        smooth: Neighbours to either side that lines can be smoothed over, at most.
    """

    choices: list[Json]
    series: list[Json]
    x: list[Json]
    smooth: int


@dataclass(frozen=True)
class Figure:
    """A figure with its title and caption.

    Attributes:
        name: The figure's id on the page.
        title: The figure's heading.
        caption: The caption: what is drawn and how to read it.
        alt: The alternative text for readers who do not see the figure.
        traces: Plotly's `data`.
        layout: Plotly's `layout`.
        queries: Names of the queries in `Material.queries` that its numbers come from.
        controls: The controls that controls.js adds. None: the figure has none.
    """

    name: str
    title: str
    caption: str
    alt: str
    traces: list[Json]
    layout: Json
    queries: tuple[str, ...]
    controls: Controls | None = None

    @property
    def drawing(self) -> Json:
        """Return the figure as JSON data for the page's script."""
        plain = {"data": self.traces, "layout": self.layout}
        return plain | ({"controls": self.controls} if self.controls else {})

    def plotly(self) -> go.Figure:
        """Return the figure as plotly's own. Raise UserError where plotly is not installed."""
        try:
            import plotly.graph_objects as go
        except ImportError as error:
            raise UserError(f"figures in Python need the package `plotly`: {install('notebook')}") from error
        return go.Figure({"data": self.traces, "layout": self.layout})


def dark_colours() -> dict[str, str]:
    """Return the colour on the dark page for each colour on the light one."""
    pairs = dict([*PALETTE, *TONES.values()])
    return pairs | {faint(light): faint(dark) for light, dark in pairs.items()}


def colour(arm: Arm) -> str:
    """Return the arm's colour."""
    return PALETTE[arm.colour][0]


def faint(shade: str) -> str:
    """Return a transparent `shade`, for bands."""
    red, green, blue = (int(shade[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.16)"


def text(words: str) -> str:
    """Return `words` escaped, so that Plotly, which reads a subset of HTML, shows them literally."""
    return escape(words, quote=False).replace("\n", " ")


def dots(arm: Arm, x: Sequence[float], y: Sequence[float], hover: Sequence[str], **more: Any) -> Json:
    """Return one dot per seed."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": text(arm.label),
        "x": list(x),
        "y": list(y),
        "text": [text(words) for words in hover],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": colour(arm), "symbol": symbol(arm), "size": 9, "opacity": 0.8},
        "showlegend": False,
    } | more


def mean_bar(arm: Arm, x: float, y: float, vertical: bool = False, **more: Any) -> Json:
    """Return a short line at the mean, across the axis of the values."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": text(arm.label),
        "x": [x],
        "y": [y],
        "marker": {
            "symbol": "line-ns" if vertical else "line-ew",
            "size": 22,
            "line": {"color": colour(arm), "width": 3},
            "color": colour(arm),
        },
        "hovertemplate": f"mean of {text(arm.label)}: %{{{'x' if vertical else 'y'}:.4~r}}<extra></extra>",
        "showlegend": False,
    } | more


def line(arm: Arm, x: Sequence[float], y: Sequence[float | None], **more: Any) -> Json:
    """Return a curve in the arm's colour and dash."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": text(arm.label),
        "x": list(x),
        "y": list(y),
        "line": {"color": colour(arm), "dash": dash(arm), "width": 2.2},
        "showlegend": False,
    } | more


def band(arm: Arm, x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> Json:
    """Return the area between two curves of an arm."""
    return area(colour(arm), x, low, high) | {"legendgroup": arm.label}


def area(shade: str, x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> Json:
    """Return the area between two curves."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": faint(shade),
        "line": {"width": 0, "color": shade},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def cross(arm: Arm) -> Json:
    """Return the marker of a divergence."""
    return {"symbol": "x-thin", "size": 10, "line": {"color": colour(arm), "width": 2}}


def named(arms: int) -> bool:
    """Return whether a legend helps: not for one arm, nor for so many that it is longer than the figure."""
    return 1 < arms <= MOST_NAMED


def symbol(arm: Arm) -> str:
    """Return the symbol of the arm's dots."""
    return SYMBOLS[arm.mark % len(SYMBOLS)]


def dash(arm: Arm) -> str:
    """Return the dash of the arm's curves: another one for each arm, so that a curve shows below another."""
    return DASHES[(arm.mark + arm.colour) % len(DASHES)]


def layout(x: Json, y: Json, height: int = 400, **more: Any) -> Json:
    """Return the layout of every figure; `x` and `y` are Plotly's axes."""
    return {
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "font": {"family": FONT, "size": 13, "color": MUTED},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": RULE, "font": {"color": INK, "family": FONT}},
        "modebar": {"bgcolor": "rgba(0, 0, 0, 0)", "color": MUTED, "activecolor": INK},
        "dragmode": False,  # a finger that scrolls the page must not zoom
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "maxheight": 1000,
            "font": {"color": INK},
        },
        "xaxis": axis(**x),
        "yaxis": axis(**y),
    } | more


def axis(title: str, **more: Any) -> Json:
    """Return an axis of a figure."""
    return {
        "title": {"text": text(title), "standoff": 12},
        "automargin": True,
        "gridcolor": RULE,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": RULE,
    } | more


def above(words: str, place: float) -> Json:
    """Return a name above the dots of a row, at the left of the frame, where it takes no width from the figure."""
    where = {"xref": "paper", "x": 0, "xanchor": "left", "y": place, "yanchor": "bottom", "yshift": 12}
    return {"text": words, "showarrow": False, "font": {"size": 12, "color": INK}} | where


def reference_line(**ends: Any) -> Json:
    """Return a dashed line between the ends `x0`, `y0` and `x1`, `y1`, behind the points."""
    return {"type": "line", "line": {"color": MUTED, "width": 1.2, "dash": "dash"}, "layer": "below"} | ends


def ngram_baseline_lines(ngram_baselines: Sequence[NgramBaseline], height: float) -> Json:
    """Return dashed lines across a frame at n-gram baselines, with their names at the right end.

    Args:
        ngram_baselines: The baselines.
        height: The range of the frame's y axis. Lines that are close have their names together above the upper one.
    """
    close: list[list[NgramBaseline]] = []
    for ngram in sorted(ngram_baselines, key=lambda each: -each.bits_per_byte):
        if close and close[-1][-1].bits_per_byte - ngram.bits_per_byte < NAME_HEIGHT * height:
            close[-1].append(ngram)
        else:
            close.append([ngram])
    return {
        "shapes": [_ngram_baseline_line(ngram) for ngram in ngram_baselines],
        "annotations": [_ngram_baseline_names(together) for together in close],
    }


def _ngram_baseline_line(ngram: NgramBaseline) -> Json:
    ends = {"y0": ngram.bits_per_byte, "y1": ngram.bits_per_byte, "x0": 0, "x1": 1}
    look = {"line": {"color": MUTED, "width": 1.2, "dash": "dash"}, "layer": "below"}
    return {"type": "line", "xref": "paper", "yref": "y"} | ends | look


def _ngram_baseline_names(together: Sequence[NgramBaseline]) -> Json:
    return {
        "text": "<br>".join(f"{ngram.name} {ngram.bits_per_byte:.3f}" for ngram in together),
        "align": "right",
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "y": together[0].bits_per_byte,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12, "color": MUTED},
    }
