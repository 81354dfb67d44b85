"""`titans-lab eval` for needles and stories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from titans_lab.cli.arguments import usable_devices
from titans_lab.cli.output import FAILED, collect, print_rows, print_table, say
from titans_lab.errors import UserError
from titans_lab.tables import TextFormat, harmless

if TYPE_CHECKING:
    from titans_lab.evaluation.choices import Choice
    from titans_lab.evaluation.evaluations import Result
    from titans_lab.store.store import Store

SIZES = {"": 1, "K": 2**10, "M": 2**20}
COLUMNS = ("evaluation", "task", "setting", "length", "count", "value", "low", "high", "recorded", "note")


def print_questions(records: Store, run_id: str, chosen: Sequence[Choice], form: TextFormat) -> None:
    """Ask a run, and print the shares of right answers. Exit code 3: the evaluation broke."""
    from titans_lab.evaluation.evaluations import evaluate

    device = usable_devices()[0]
    answers = evaluate(records, run_id, chosen, device)
    results = collect(answers, len(chosen), _words, "evaluations")
    _print(results, form)
    if len(results) < len(chosen):
        raise typer.Exit(FAILED)


def lengths_of(text: str) -> list[int]:
    """Return the lengths that the option `--lengths` names."""
    found = [re.fullmatch(r"(\d+)([KM]?)", word.strip().upper()) for word in text.split(",")]
    if not all(found):
        raise UserError(f"--lengths {text}: write tokens with commas between them, such as 2K,16K,2M (K is 1024)")
    return [int(each[1]) * SIZES[each[2]] for each in found if each]


def _words(result: Result) -> str:
    return f"{result.asked.kind}, {result.asked.length} tokens"


def _print(results: Sequence[Result], form: TextFormat) -> None:
    rows = [dict(result.share) | _more(result) for result in results]
    if form != "table":
        print_rows(COLUMNS, ([row[name] for name in COLUMNS] for row in rows), form)
    elif rows:
        print_table(("task", "setting", "length", "right", "of", "95 % interval", ""), map(_cells, rows))
        _print_examples(results[-1])
        for remark in dict.fromkeys(row["note"] for row in rows):
            print(f"\n{remark}; the store has these in the view evals")


def _print_examples(result: Result) -> None:
    """Print some questions with what the model said."""
    for each in result.examples:
        mark = "right" if each["right"] else "wrong"
        say(f"\n...{harmless(str(each['question']))}")
        say(f"  expected {harmless(str(each['expected']))}; said {harmless(repr(each['said']))}: {mark}")


def _more(result: Result) -> dict[str, Any]:
    low, high = result.interval
    return {"evaluation": result.evaluation, "recorded": result.recorded, "low": low, "high": high}


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    share, interval = f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"
    was = "from the store" if row["recorded"] else ""
    return row["task"], row["setting"], str(row["length"]), share, str(row["count"]), interval, was
