"""What `titans-lab eval` does with needles and stories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from titans_lab.cli.arguments import usable_devices
from titans_lab.cli.output import FAILED, collect, print_rows, print_table
from titans_lab.errors import UserError
from titans_lab.tasks.needle import KINDS, NeedleSettings

if TYPE_CHECKING:
    from titans_lab.evaluation.evaluations import Asked, Result, Sources
    from titans_lab.store.store import Store

Choice: TypeAlias = "tuple[Asked, Sources]"

SIZES = {"": 1, "K": 2**10, "M": 2**20}
COLUMNS = ("evaluation", "task", "setting", "length", "count", "value", "low", "high", "recorded", "note")


def print_questions(records: Store, run_id: str, chosen: Sequence[Choice], as_csv: bool, as_json: bool) -> None:
    """Ask the run, and print the shares of right answers. Exit code 3: it broke."""
    from titans_lab.evaluation.evaluations import evaluate

    device = usable_devices()[0]
    answers = evaluate(records, run_id, chosen, device)
    results = collect(answers, len(chosen), _words, "evaluations")
    _print(results, as_csv, as_json)
    if len(results) < len(chosen):
        raise typer.Exit(FAILED)


def each_length(kinds: Sequence[Choice], lengths: str, count: int, seed: int) -> list[Choice]:
    """So many questions of each kind in each of the lengths that the option names."""
    sizes = _sizes(lengths)
    return [(replace(asked, length=size, count=count, seed=seed), files) for asked, files in kinds for size in sizes]


def _sizes(text: str) -> list[int]:
    found = [re.fullmatch(r"(\d+)([KM]?)", word.strip().upper()) for word in text.split(",")]
    if not all(found):
        raise UserError(f"--lengths {text}: write tokens with commas between them, such as 2K,16K,2M (K is 1024)")
    return [int(each[1]) * SIZES[each[2]] for each in found if each]


def needles(record: dict[str, Any], kinds: str | None, template: str | None, sources: Sources) -> list[Choice]:
    """Of the kinds that are named, else of the one that the run was trained on."""
    from titans_lab.evaluation.evaluations import ANSWER_TOKENS, Asked
    from titans_lab.study.run import config_of

    settings = config_of(record).task.settings
    trained = settings if isinstance(settings, NeedleSettings) else None
    wanted = kinds.split(",") if kinds else [trained.kind if trained else "passkey"]
    for kind in wanted:
        if kind not in KINDS:
            raise UserError(f"--kinds {kinds}: {kind!r} is none of {', '.join(KINDS)}")
    template = template or (trained.template if trained else "ruler")
    return [(Asked("needle", kind, 0, 1, 0, ANSWER_TOKENS["needle"], template), sources) for kind in wanted]


def stories(facts: Sequence[Path], text: Path | None) -> list[Choice]:
    """Of each file."""
    from titans_lab.evaluation.evaluations import ANSWER_TOKENS, Asked, kind_of

    if not facts:
        raise UserError("--facts: names no file; give one of bAbI stories, such as qa1_single-supporting-fact_test.txt")
    asked = [Asked("babilong", kind_of(file.name), 0, 1, 0, ANSWER_TOKENS["babilong"]) for file in facts]
    return [(each, files(text, facts=file)) for each, file in zip(asked, facts, strict=True)]


def files(text: Path | None, words: Path | None = None, facts: Path | None = None) -> Sources:
    """What questions are made of, wherever the process is that reads it."""
    from titans_lab.evaluation.evaluations import Sources

    return Sources(*(None if path is None else str(path.absolute()) for path in (text, words, facts)))


def _words(result: Result) -> str:
    return f"{result.asked.kind}, {result.asked.length} tokens"


def _print(results: Sequence[Result], as_csv: bool, as_json: bool) -> None:
    rows = [dict(result.share) | _more(result) for result in results]
    if as_csv or as_json:
        print_rows(COLUMNS, ([row[name] for name in COLUMNS] for row in rows), as_csv, as_json)
    elif rows:
        print_table(("task", "setting", "length", "right", "of", "95 % interval", ""), map(_cells, rows))
        for note in dict.fromkeys(row["note"] for row in rows):
            typer.echo(f"\n{note}; kept in the view evals")


def _more(result: Result) -> dict[str, Any]:
    low, high = result.interval
    return {"evaluation": result.evaluation, "recorded": result.recorded, "low": low, "high": high}


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    share, interval = f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"
    was = "recorded before" if row["recorded"] else ""
    return row["task"], row["setting"], str(row["length"]), share, str(row["count"]), interval, was
