"""The verb that evaluates a finished run, on long inputs or on lm-eval's tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from titans_lab.cli.arguments import Form, StoreFolder, open_store
from titans_lab.cli.harness import print_harness
from titans_lab.cli.questions import lengths_of, print_questions
from titans_lab.errors import UserError

Run = Annotated[str, typer.Argument(metavar="RUN", help="The start of a run's id, as `titans-lab plan` shows it.")]
Task = Annotated[
    str,
    typer.Option(
        metavar="TASK,...",
        help="The tasks: needle, babilong, paper (all of its table), or lm-eval's, such as piqa,arc_easy.",
    ),
]
Lengths = Annotated[
    str,
    typer.Option(
        metavar="TOKENS,...",
        help="The lengths of the inputs, such as 2K,16K,2M, where 1K is 1024. 0: the stories alone.",
    ),
]
Count = Annotated[int, typer.Option(min=1, help="The number of questions of each length.")]
Kinds = Annotated[
    str | None,
    typer.Option(
        metavar="KIND,...", help="The kinds of needles: passkey, number, uuid, word. Default: as the run was trained."
    ),
]
Template = Annotated[
    Literal["ruler", "brief"] | None,
    typer.Option(help="The template of needles. Default: as the run was trained, or ruler."),
]
Facts = Annotated[list[Path] | None, typer.Option(help="A file of bAbI stories. Give it once for each task.")]
Text = Annotated[Path | None, typer.Option(help="The text to hide facts in. Default: Python's documentation.")]
Words = Annotated[Path | None, typer.Option(help="A folder of word lists for the keys of needles. Default: our own.")]
Seed = Annotated[int, typer.Option(min=0, help="The random seed of the questions.")]
Writes = Annotated[
    Literal["on", "off"],
    typer.Option(help="off: no token is written to a memory or recurrence, which shows how much the model uses it."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="A folder of JSON lines with the rows of lm-eval's tasks, named after the tasks."
    ),
]
Online = Annotated[bool, typer.Option("--online", help="Fetch the rows of lm-eval's tasks from the Hugging Face hub.")]
Limit = Annotated[int | None, typer.Option(min=1, help="The number of rows of each of lm-eval's tasks. Default: all.")]

#: The options that only some tasks read.
HARNESS = "lm-eval's tasks"
OPTIONS = {
    "needle": ("lengths", "count", "seed", "text", "writes", "kinds", "template", "words"),
    "babilong": ("lengths", "count", "seed", "text", "writes", "facts"),
    HARNESS: ("data", "online", "limit"),
}


def evaluate(
    context: typer.Context,
    run: Run,
    task: Task = "needle",
    lengths: Lengths = "2K,4K",
    count: Count = 25,
    kinds: Kinds = None,
    template: Template = None,
    facts: Facts = None,
    text: Text = None,
    words: Words = None,
    seed: Seed = 0,
    writes: Writes = "on",
    data: Data = None,
    online: Online = False,
    limit: Limit = None,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Evaluate a finished run: ask for facts in long inputs, or run lm-eval's tasks zero-shot.

    Long inputs are read as a stream; the tasks are needles by RULER's protocol and BABILong. The store keeps each
    evaluation in the view evals, and what it has is not computed again.

    Exit code 3: the evaluation broke.
    """
    from titans_lab.evaluation.choices import at_lengths, needles, stories
    from titans_lab.store.weights import check_weights, find_run

    _refuse_idle(context, task)
    records = open_store(store)
    folder = find_run(records, run)
    check_weights(folder)
    if task not in OPTIONS:
        print_harness(records, folder.run_id, task, data, online, limit, form)
        return
    if task == "needle":
        asked = needles(folder.record(), kinds.split(",") if kinds else [], template, text, words)
    else:
        asked = stories(facts or [], text)
    chosen = at_lengths(asked, lengths_of(lengths), count, seed, writes)
    print_questions(records, folder.run_id, chosen, form)


def _refuse_idle(context: typer.Context, task: str) -> None:
    """Raise UserError where an option is given that the task does not read."""
    read = OPTIONS.get(task, OPTIONS[HARNESS])
    for name in dict.fromkeys(name for names in OPTIONS.values() for name in names if name not in read):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            others = ", ".join(other for other, names in OPTIONS.items() if name in names)
            raise UserError(f"--{name}: is for {others}, not for --task {task}; leave it out or choose another task")
