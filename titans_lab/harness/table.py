"""The columns of the paper's table in its order (arXiv 2501.00663, table 1). Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: lm-eval's names of tasks by their usual names.
ALIASES = {"lambada": "lambada_openai", "siqa": "social_iqa", "arc-e": "arc_easy", "arc-c": "arc_challenge"}
PERCENT = 100.0


class TableColumn(NamedTuple):
    """A column, and the metric of lm-eval that it shows."""

    title: str
    task: str
    metric: str
    percent: bool = True


COLUMNS = (
    TableColumn("Wiki ppl", "wikitext", "word_perplexity", percent=False),
    TableColumn("LAMBADA ppl", "lambada_openai", "perplexity", percent=False),
    TableColumn("LAMBADA acc", "lambada_openai", "acc"),
    TableColumn("PIQA acc", "piqa", "acc"),
    TableColumn("HellaSwag acc_n", "hellaswag", "acc_norm"),
    TableColumn("WinoGrande acc", "winogrande", "acc"),
    TableColumn("ARC-e acc", "arc_easy", "acc"),
    TableColumn("ARC-c acc_n", "arc_challenge", "acc_norm"),
    TableColumn("SIQA acc", "social_iqa", "acc"),
    TableColumn("BoolQ acc", "boolq", "acc"),
)
#: lm-eval's names of the tasks, in the paper's order.
TASKS = tuple(dict.fromkeys(column.task for column in COLUMNS))
AVERAGE = "average"


def table(figures: Mapping[tuple[str, str], float]) -> dict[str, float | None]:
    """Return the paper's row from values by task and metric; None for a column that was not evaluated.

    The average is over the eight accuracies. It is None where one of them is missing.
    """
    row = {column.title: _shown(column, figures.get((column.task, column.metric))) for column in COLUMNS}
    shares = [row[column.title] for column in COLUMNS if column.percent]
    known = [share for share in shares if share is not None]
    return row | {AVERAGE: sum(known) / len(known) if len(known) == len(shares) else None}


def _shown(column: TableColumn, value: float | None) -> float | None:
    return value if value is None or not column.percent else value * PERCENT
