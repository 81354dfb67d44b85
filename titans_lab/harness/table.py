"""The table of the paper: its columns in its order (arXiv 2501.00663, table 1). No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: Names that people use, and lm-eval's.
ALIASES = {"lambada": "lambada_openai", "siqa": "social_iqa", "arc-e": "arc_easy", "arc-c": "arc_challenge"}
PERCENT = 100.0


class Column(NamedTuple):
    """A column and the figure of lm-eval that it shows."""

    title: str
    task: str
    metric: str
    percent: bool = True


COLUMNS = (
    Column("Wiki ppl", "wikitext", "word_perplexity", percent=False),
    Column("LAMBADA ppl", "lambada_openai", "perplexity", percent=False),
    Column("LAMBADA acc", "lambada_openai", "acc"),
    Column("PIQA acc", "piqa", "acc"),
    Column("HellaSwag acc_n", "hellaswag", "acc_norm"),
    Column("WinoGrande acc", "winogrande", "acc"),
    Column("ARC-e acc", "arc_easy", "acc"),
    Column("ARC-c acc_n", "arc_challenge", "acc_norm"),
    Column("SIQA acc", "social_iqa", "acc"),
    Column("BoolQ acc", "boolq", "acc"),
)
#: lm-eval's names of the tasks, in the paper's order.
TASKS = tuple(dict.fromkeys(column.task for column in COLUMNS))
AVERAGE = "average"


def table(figures: Mapping[tuple[str, str], float]) -> dict[str, float | None]:
    """The paper's row from figures by task and metric; None for what was not asked.

    The average is that of the eight accuracies, and there is none where one of them is missing.
    """
    row = {column.title: _shown(column, figures.get((column.task, column.metric))) for column in COLUMNS}
    shares = [row[column.title] for column in COLUMNS if column.percent]
    known = [share for share in shares if share is not None]
    return row | {AVERAGE: sum(known) / len(known) if len(known) == len(shares) else None}


def _shown(column: Column, value: float | None) -> float | None:
    return value if value is None or not column.percent else value * PERCENT
