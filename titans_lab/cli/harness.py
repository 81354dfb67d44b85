"""`titans-lab eval` for lm-eval's tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from titans_lab.cli.arguments import usable_devices
from titans_lab.cli.output import FAILED, collect, print_rows, print_table
from titans_lab.errors import UserError
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.harness.asking import TaskRequest, TaskResult
    from titans_lab.store.store import Store

PAPER = "paper"  # all tasks of the paper's table
COLUMNS = ("task", "metric", "value", "unit", "count", "split", "evaluation", "recorded")


def print_harness(
    records: Store,
    run_id: str,
    tasks: str,
    data: Path | None,
    online: bool,
    limit: int | None,
    form: TextFormat,
) -> None:
    """Evaluate a run on tasks and print the paper's row, or every value as CSV or JSON. Exit code 3: it broke."""
    asked = _asked(tasks, data, online, limit)
    found = _found(records, run_id, asked)
    if form != "table":
        names = COLUMNS[:6]
        rows = ([*(row[x] for x in names), each.evaluation, each.recorded] for each in found for row in each.rows)
        print_rows(COLUMNS, rows, form)
    elif found:
        _print(found)
    if len(found) < len(asked):
        raise typer.Exit(FAILED)


def _asked(tasks: str, data: Path | None, online: bool, limit: int | None) -> list[TaskRequest]:
    from titans_lab.harness.asking import TaskRequest, task_names
    from titans_lab.harness.table import TASKS

    names = list(TASKS) if tasks == PAPER else task_names(tasks.split(","))
    if (data is None) == (not online):
        raise UserError(
            "--data, --online: give one of the two: a folder with the tasks' rows, or leave to fetch them from the hub"
        )
    return [TaskRequest(name, None if data is None else str(data.absolute()), limit) for name in names]


def _found(records: Store, run_id: str, asked: Sequence[TaskRequest]) -> list[TaskResult]:
    """Return the results; fewer than asked for where the process broke."""
    from titans_lab.harness.asking import ask

    device = usable_devices()[0]
    return collect(ask(records, run_id, asked, device), len(asked), lambda each: each.asked.task, "tasks")


def _print(found: Sequence[TaskResult]) -> None:
    """Print the paper's columns in its order, one in each line."""
    from titans_lab.harness.table import table

    figures = {key: value for each in found for key, value in each.figures.items()}
    row = table(figures)
    print_table(("column", "value"), ([title, _figure(value)] for title, value in row.items()))
    splits = {str(row["split"]) for each in found for row in each.rows}
    notes = {str(row["note"]) for each in found for row in each.rows if row["note"]}
    about = ", ".join(["zero-shot", "split: " + "/".join(sorted(splits)), *sorted(notes)])
    typer.echo(f"\n{about}; kept in the view evals")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 1e6 else f"{value:.2e}"
