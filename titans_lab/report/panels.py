"""Figures of several frames, each with its name above it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from titans_lab.report import plot
from titans_lab.report.plot import Json

GAP = 0.08  # share of the width between columns
ABOVE, BELOW = 30, 52  # pixels of a panel for its name, and for its ticks


@dataclass(frozen=True)
class Grid:
    """Frames of one size, row by row.

    Attributes:
        count: The number of frames.
        columns: The number of frames side by side.
        frame: The height of a frame in pixels.
        x: The layout of every x axis; only the bottom row shows its title.
        y: The layout of every y axis; only the first column shows its title.
    """

    count: int
    columns: int
    frame: int
    x: Json
    y: Json

    @property
    def rows(self) -> int:
        """Return the number of rows of frames."""
        return math.ceil(self.count / self.columns)

    @property
    def height(self) -> int:
        """Return the figure's height in pixels."""
        return self.rows * (ABOVE + self.frame + BELOW)

    def axes(self, place: int) -> Json:
        """Return the keys that place a trace in a frame."""
        number = "" if place == 0 else str(place + 1)
        return {"xaxis": f"x{number}", "yaxis": f"y{number}"}

    def layout(self, names: list[str]) -> Json:
        """Return the figure's layout."""
        return plot.layout(self._x(0), self._y(0), self.height) | {
            "annotations": [self._name(place, name) for place, name in enumerate(names)],
            **{f"xaxis{place + 1}": plot.axis(**self._x(place)) for place in range(1, self.count)},
            **{f"yaxis{place + 1}": plot.axis(**self._y(place)) for place in range(1, self.count)},
        }

    def _x(self, place: int) -> Json:
        width = (1 - GAP * (self.columns - 1)) / self.columns
        left = place % self.columns * (width + GAP)
        last = place + self.columns >= self.count
        anchor = self.axes(place)["yaxis"]
        return self.x | {"domain": (left, left + width), "anchor": anchor, "title": self.x["title"] if last else ""}

    def _y(self, place: int) -> Json:
        row, first = place // self.columns, place % self.columns == 0
        top = 1 - (row * (ABOVE + self.frame + BELOW) + ABOVE) / self.height
        anchor, domain = self.axes(place)["xaxis"], (top - self.frame / self.height, top)
        return self.y | {"domain": domain, "anchor": anchor, "title": self.y["title"] if first else ""}

    def _name(self, place: int, name: str) -> Json:
        left, _ = self._x(place)["domain"]
        _, top = self._y(place)["domain"]
        where = {"xref": "paper", "yref": "paper", "x": left, "y": top, "xanchor": "left", "yanchor": "bottom"}
        look = {"showarrow": False, "yshift": 4, "font": {"size": 13, "color": plot.INK}}
        return {"text": plot.text(name)} | where | look
