"""The verb `generate`, which continues prompts with a finished run."""

from __future__ import annotations

from typing import Annotated

import typer

from titans_lab.cli.arguments import Form, StoreFolder, open_store, usable_devices
from titans_lab.cli.evals import Run
from titans_lab.cli.output import FAILED, note, print_rows
from titans_lab.tables import harmless


def generate(
    run: Run,
    prompt: Annotated[
        list[str], typer.Option("--prompt", metavar="TEXT", help="The text to continue. Give it once for each text.")
    ],
    tokens: Annotated[int, typer.Option(min=1, help="The number of tokens to draw.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="The temperature; 0 takes the most likely token.")] = 0.8,
    samples: Annotated[int, typer.Option(min=1, help="The number of continuations of each prompt.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The random seed of the draws.")] = 0,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Continue prompts with a finished language model, and print the continuations.

    Exit code 3: the process with the model broke.
    """
    from titans_lab.evaluation.samples import SampleRequest
    from titans_lab.evaluation.samples import samples as continued
    from titans_lab.executors.answers import EndedEarly
    from titans_lab.store.weights import check_weights, find_run

    records = open_store(store, there=True)
    folder = find_run(records, run)
    check_weights(folder)
    asked = [SampleRequest(text, tokens, temperature, seed + number) for text in prompt for number in range(samples)]
    try:
        found = list(continued(records, folder.run_id, asked, usable_devices()[0]))
    except EndedEarly as error:
        note(f"failed: {error}")
        raise typer.Exit(FAILED) from error
    if form != "table":
        rows = ((folder.run_id, each.prompt, each.seed, text) for each, text in zip(asked, found, strict=True))
        print_rows(("run_id", "prompt", "seed", "text"), rows, form)
        return
    shown = (f"{each.prompt}{text}" for each, text in zip(asked, found, strict=True))
    print("\n\n".join("\n".join(map(harmless, text.split("\n"))) for text in shown))
