"""The verb that asks a finished run what it can still do on long inputs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from titans_lab.cli.arguments import AsCsv, AsJson, StoreFolder, open_store, usable_devices
from titans_lab.cli.harness import print_harness
from titans_lab.cli.output import FAILED, INTERRUPTED, print_rows, print_table, progress_bar
from titans_lab.errors import UserError
from titans_lab.study.tasks.needle import KINDS

if TYPE_CHECKING:
    from titans_lab.evaluations import Asked, Result, Sources
    from titans_lab.store.folder import Store

SIZES = {"": 1, "K": 2**10, "M": 2**20}
COLUMNS = ("evaluation", "task", "setting", "length", "count", "value", "low", "high", "recorded", "note")


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The start of a run's id, as `titans-lab plan` shows it.")],
    task: Annotated[
        str,
        typer.Option(metavar="TASK,...", help="needle, babilong, paper (its table), or lm-eval's, as piqa,arc_easy."),
    ] = "needle",
    lengths: Annotated[
        str, typer.Option(metavar="TOKENS,...", help="Such as 2K,16K,2M, K being 1024; 0: stories alone.")
    ] = "2K,4K",
    count: Annotated[int, typer.Option(min=1, help="Questions of each length.")] = 25,
    kinds: Annotated[
        str | None, typer.Option(metavar="KIND,...", help="Of needles: passkey, number, uuid, word; else as trained.")
    ] = None,
    template: Annotated[
        Literal["ruler", "brief"] | None, typer.Option(help="Of needles; else as the run was trained, or ruler.")
    ] = None,
    facts: Annotated[list[Path] | None, typer.Option(help="A file of bAbI stories; once for each task.")] = None,
    text: Annotated[Path | None, typer.Option(help="What to hide in; else Python's documentation.")] = None,
    words: Annotated[Path | None, typer.Option(help="A folder of word lists for keys; else our own.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the questions.")] = 0,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="JSON lines with the rows of lm-eval's tasks, by their names.")
    ] = None,
    online: Annotated[bool, typer.Option("--online", help="Fetch the rows of lm-eval's tasks from the hub.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows of each of lm-eval's tasks; else all.")] = None,
    store: StoreFolder = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Ask a finished run about facts in long inputs, read as a stream (needles by RULER's protocol, BABILong), or put
    lm-eval's tasks to it, zero-shot.

    What was asked before is taken from the store, view evals. Exit code 3: the evaluation broke.
    """
    from titans_lab.store.weights import check_weights, find_run

    records, sizes = open_store(store), _lengths(lengths)
    folder = find_run(records, run)
    check_weights(folder)
    if task not in ("needle", "babilong"):
        print_harness(records, folder.run_id, task, data, online, limit, as_csv, as_json)
        return
    if task == "needle":
        made_of = [(asked, _sources(text, words)) for asked in _needles(folder.record(), kinds, template)]
    else:
        made_of = _stories(facts or [], text)
    chosen = [
        (dataclasses.replace(asked, length=size, count=count, seed=seed), sources)
        for asked, sources in made_of
        for size in sizes
    ]
    results = _run(records, folder.run_id, chosen)
    _print(results, as_csv, as_json)
    if len(results) < len(chosen):
        raise typer.Exit(FAILED)


def _lengths(text: str) -> list[int]:
    """Those that the option names."""
    found = [re.fullmatch(r"(\d+)([KM]?)", word.strip().upper()) for word in text.split(",")]
    if not all(found):
        raise UserError(f"--lengths {text}: write tokens with commas between them, such as 2K,16K,2M (K is 1024)")
    return [int(each[1]) * SIZES[each[2]] for each in found if each]


def _needles(record: dict[str, Any], kinds: str | None, template: str | None) -> list[Asked]:
    """Of the kinds that are named, else of the one that the run was trained on."""
    from titans_lab.evaluations import ANSWER_TOKENS, Asked
    from titans_lab.study.record import config_of

    task = config_of(record).task
    trained = task.needle if task.name == "needle" else None
    wanted = kinds.split(",") if kinds else [trained.kind if trained else "passkey"]
    for kind in wanted:
        if kind not in KINDS:
            raise UserError(f"--kinds {kinds}: {kind!r} is none of {', '.join(KINDS)}")
    template = template or (trained.template if trained else "ruler")
    return [Asked("needle", kind, 0, 1, 0, ANSWER_TOKENS["needle"], template) for kind in wanted]


def _stories(facts: Sequence[Path], text: Path | None) -> list[tuple[Asked, Sources]]:
    """Of each file."""
    from titans_lab.evaluations import ANSWER_TOKENS, Asked, kind_of

    if not facts:
        raise UserError("--facts: names no file; give one of bAbI stories, such as qa1_single-supporting-fact_test.txt")
    asked = [Asked("babilong", kind_of(file.name), 0, 1, 0, ANSWER_TOKENS["babilong"]) for file in facts]
    return [(each, _sources(text, facts=file)) for each, file in zip(asked, facts, strict=True)]


def _sources(text: Path | None, words: Path | None = None, facts: Path | None = None) -> Sources:
    from titans_lab.evaluations import Sources

    return Sources(*(None if path is None else str(path.absolute()) for path in (text, words, facts)))


def _run(records: Store, run_id: str, chosen: Sequence[tuple[Asked, Sources]]) -> list[Result]:
    """What came out; fewer than chosen where the process broke."""
    from titans_lab.evaluations import evaluate as answers
    from titans_lab.executors.answers import EndedEarly

    device = usable_devices()[0]
    results: list[Result] = []
    try:
        with progress_bar(len(chosen)) as tell:
            for result in answers(records, run_id, chosen, device):
                results.append(result)
                tell(f"{result.asked.kind}, {result.asked.length} tokens")
    except KeyboardInterrupt:
        typer.echo(f"interrupted; {len(results)} of {len(chosen)} evaluations are kept", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except EndedEarly as error:
        typer.echo(f"failed: {error}", err=True)
    return results


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
