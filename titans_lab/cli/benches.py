"""The verb that measures speed, each model side by side with a baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import AsCsv, AsJson, Overrides, StoreFolder, open_store, usable_devices, warn
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import FAILED, INTERRUPTED, count, print_rows, print_table, progress_bar
from titans_lab.errors import UserError

if TYPE_CHECKING:
    from titans_lab.bench.pairs import Pair
    from titans_lab.bench.process import Bench, Place, Row
    from titans_lab.study.config import RunConfig


def bench(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="A study file; else four variants at two lengths.")
    ] = None,
    overrides: Overrides = None,
    length: Annotated[
        str | None, typer.Option(metavar="TOKENS,...", help="Of the sequences, such as 512,2048; else train.seq_len.")
    ] = None,
    against: Annotated[
        str, typer.Option(metavar="BASELINE", help="A variant, or titans-pytorch where that is installed.")
    ] = "transformer",
    batch: Annotated[int | None, typer.Option(min=1, help="Sequences a step; else train.batch_size.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each model and its baseline.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch on the CPU; else one a core.")] = None,
    store: StoreFolder = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Measure the speed of training steps, forward and backward, side by side with a baseline's.

    Each model takes turns with the baseline, of the same configuration but for its variant, and a plain product.
    What was measured is kept in the store, view benches.
    Exit code 3: some pairs broke.
    """
    from titans_lab.bench.pairs import cases, paired
    from titans_lab.bench.process import Bench

    pairs = paired(cases(_configs(study, overrides or []), _lengths(length), batch), against)
    work = Bench(open_store(store), _place(rounds, threads))
    _measure(work, pairs)
    _print(work, as_csv, as_json)
    if work.failed:
        for pair, error in work.failed:
            typer.echo(f"failed: {_words(pair)}: {error}", err=True)
        raise typer.Exit(FAILED)


def _configs(study: Path | None, overrides: list[str]) -> list[RunConfig]:
    """Of the study, or of the default one, for which what looks like a file may be an override."""
    from titans_lab.bench.pairs import default_study
    from titans_lab.study.study import load_study

    if study is not None and "=" in str(study) and not study.exists():
        study, overrides = None, [str(study), *overrides]
    loaded = default_study(overrides) if study is None else load_study(study, overrides)
    warn(loaded)
    return [point.config for point in loaded.points]


def _lengths(text: str | None) -> list[int]:
    """Those that the option names; none: as the configurations have them."""
    words = [] if text is None else text.split(",")
    for word in words:
        if not word.strip().isdecimal() or int(word) < 1:
            raise UserError(f"--length {text}: {word!r} is no number of tokens; write such as 512,2048")
    return [int(word) for word in words]


def _place(rounds: int, threads: int | None) -> Place:
    """On a CPU a bench has all cores to itself; beside a GPU it has as many threads as a worker of a sweep."""
    from titans_lab.bench.process import Place
    from titans_lab.executors.devices import cores

    device = usable_devices()[0]
    return Place(device, threads or (len(cores()) if device.kind == "cpu" else 1), rounds)


def _measure(work: Bench, pairs: Sequence[Pair]) -> None:
    many = f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'}"
    typer.echo(f"measuring {many} on {work.place.device.hardware}", err=True)
    try:
        with terminable(), progress_bar(len(pairs)) as tell:
            for pair in pairs:
                work.measure(pair)
                tell(_words(pair))
    except KeyboardInterrupt:
        kept = f"; what was measured is kept as {work.name}" if work.rows else ""
        typer.echo(f"interrupted{kept}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _words(pair: Pair) -> str:
    return f"{pair.label}, {pair.case.length} tokens, against {pair.against}"


def _print(work: Bench, as_csv: bool, as_json: bool) -> None:
    from titans_lab.bench.process import Row

    if as_csv or as_json:
        names = [field.name for field in dataclasses.fields(Row)]
        print_rows(names, ([getattr(row, name) for name in names] for row in work.rows), as_csv, as_json)
    elif work.rows:
        _show(work)


def _show(work: Bench) -> None:
    against, place = work.rows[0].against, work.place
    ratio = f"times {against} (lowest to highest)"
    head = ("configuration", "length", "tokens/s", f"{against} tokens/s", ratio, "share of a product")
    print_table((*head, "parameters", "FLOPs/token", "peak MiB"), map(_cells, work.rows))
    threads = f"{place.threads} {'thread' if place.threads == 1 else 'threads'}"
    typer.echo(
        f"\nForward and backward on {place.device.hardware}, {threads}; medians of {place.rounds} rounds; kept as "
        f"{work.name}"
    )


def _cells(row: Row) -> tuple[str, ...]:
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
