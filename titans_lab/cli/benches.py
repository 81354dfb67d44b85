"""The verb `bench`, which measures the speed of models relative to a baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import Form, Overrides, StoreFolder, open_store, usable_devices, warn
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import FAILED, end_interrupted, note, print_rows, print_table, progress_bar
from titans_lab.errors import UserError
from titans_lab.quantities import count, plural
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.bench.pairs import Pair
    from titans_lab.bench.process import Bench, Measurement
    from titans_lab.run.config import RunConfig


def bench(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="A study file. Default: four variants at two lengths.")
    ] = None,
    overrides: Overrides = None,
    length: Annotated[
        str | None,
        typer.Option(
            metavar="TOKENS,...", help="The lengths of the sequences, such as 512,2048. Default: train.seq_len."
        ),
    ] = None,
    against: Annotated[
        str,
        typer.Option(metavar="BASELINE", help="The baseline: a variant, or titans-pytorch where that is installed."),
    ] = "transformer",
    batch: Annotated[
        int | None, typer.Option(min=1, help="The sequences in a step. Default: train.batch_size.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="The turns of each model and of its baseline.")] = 5,
    threads: Annotated[
        int | None, typer.Option(min=1, help="The threads of torch on the CPU. Default: one for each core.")
    ] = None,
    store: StoreFolder = None,
    form: Form = "table",
) -> None:
    """Measure the speed of training steps, forward and backward, against a baseline.

    Each model takes turns with a baseline of the same configuration but for its variant, and with a plain matrix
    product. The store keeps the measurements in the view benches.

    Exit code 3: the measurement of some pairs broke.
    """
    from titans_lab.bench.pairs import cases, paired
    from titans_lab.bench.process import Bench, setup_on

    pairs = paired(cases(_configs(study, overrides or []), _lengths(length), batch), against)
    work = Bench(open_store(store), setup_on(usable_devices()[0], rounds, threads))
    _measure(work, pairs)
    _print(work, form)
    if work.failed:
        for pair, error in work.failed:
            note(f"failed: {_words(pair)}: {error}")
        raise typer.Exit(FAILED)


def _configs(study: Path | None, overrides: list[str]) -> list[RunConfig]:
    """Return the configurations of a study, or of the default one where the first argument is an override."""
    from titans_lab.bench.pairs import default_study
    from titans_lab.study.study import load_study

    if study is not None and "=" in str(study) and not study.exists():
        study, overrides = None, [str(study), *overrides]
    loaded = default_study(overrides) if study is None else load_study(study, overrides)
    warn(loaded)
    return [point.config for point in loaded.points]


def _lengths(text: str | None) -> list[int]:
    """Return the lengths that the option names; none of them where it is not given."""
    words = [] if text is None else text.split(",")
    for word in words:
        if not word.strip().isdecimal() or int(word) < 1:
            raise UserError(f"--length {text}: {word!r} is not a number of tokens; write 512,2048 for two lengths")
    return [int(word) for word in words]


def _measure(work: Bench, pairs: Sequence[Pair]) -> None:
    note(f"measuring {plural(len(pairs), 'pair')} on {work.setup.device.hardware}")
    try:
        with terminable(), progress_bar(len(pairs)) as tell:
            for pair in pairs:
                work.measure(pair)
                tell(_words(pair))
    except KeyboardInterrupt:
        end_interrupted(f"the store has what was measured, as {work.name}" if work.rows else "")


def _words(pair: Pair) -> str:
    return f"{pair.label}, {pair.case.length} tokens, against {pair.against}"


def _print(work: Bench, form: TextFormat) -> None:
    from titans_lab.bench.process import Measurement

    if form != "table":
        names = [field.name for field in dataclasses.fields(Measurement)]
        print_rows(names, ([getattr(row, name) for name in names] for row in work.rows), form)
    elif work.rows:
        _show(work)


def _show(work: Bench) -> None:
    against, setup = work.rows[0].against, work.setup
    ratio = f"times {against} (lowest to highest)"
    head = ("configuration", "length", "tokens/s", f"{against} tokens/s", ratio, "share of a product")
    print_table((*head, "parameters", "FLOPs/token", "peak MiB"), map(_cells, work.rows))
    threads = plural(setup.threads, "thread")
    print(
        f"\nForward and backward on {setup.device.hardware}, {threads}. Medians of {plural(setup.rounds, 'round')}. "
        f"The store has them as {work.name}."
    )


def _cells(row: Measurement) -> tuple[str, ...]:
    memory = "-" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / 2**20:.0f}"
    return (
        row.configuration,
        str(row.length),
        f"{row.tokens_per_second:.0f}",
        f"{row.baseline_tokens_per_second:.0f}",
        f"{row.ratio:.3g} ({row.ratio_low:.3g} to {row.ratio_high:.3g})",
        f"{row.product_share:.3f}",
        count(row.parameters),
        count(row.flops_per_token),
        memory,
    )
