"""Tables of the paper, read from results.toml."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).with_name("results.toml")


@dataclass(frozen=True)
class PaperTable:
    """A table or a figure of the paper.

    Attributes:
        title: The title of the table.
        source: The edition, arXiv 2501.00663v1 or the NeurIPS 2025 camera-ready, and the place in it.
        columns: The columns by name, with whether lower or higher values are better.
        rows: The figures of each model or variation, by column, or None where none is given.
        approximate: Whether the values were read from a plot.
        note: A remark for comparisons.
        settings: The settings of a model here that correspond to a row, by dotted key, for each row that has some.
    """

    title: str
    source: str
    columns: Mapping[str, Literal["minimize", "maximize"]]
    rows: Mapping[str, tuple[float | None, ...]]
    approximate: bool = False
    note: str = ""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def column(self, name: str) -> dict[str, float]:
        """Return the figures of a column by row; rows without one are left out."""
        place = list(self.columns).index(name)
        return {row: figure for row, figures in self.rows.items() if (figure := figures[place]) is not None}


@cache
def tables() -> dict[str, PaperTable]:
    """Return every table, by its name in the file."""
    with RESULTS.open("rb") as file:
        return {name: _table(written) for name, written in tomllib.load(file).items()}


def _table(written: dict[str, Any]) -> PaperTable:
    rows = {
        name: tuple(None if math.isnan(figure) else figure for figure in figures)
        for name, figures in written.pop("rows").items()
    }
    return PaperTable(**written, rows=rows)
