"""Verbs that keep a store in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import AsJson, StoreFolder, open_store

if TYPE_CHECKING:
    from titans_lab.store.folder import Store


def compact(
    remove: Annotated[bool, typer.Option("--remove", help="Delete what was compacted; nothing is lost.")] = False,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Copy the rows of finished runs into a file for each view, so that queries over thousands of them stay fast.

    A sweep does this by itself where it pays. Runs that change afterwards are read from their folders.
    """
    from titans_lab.cli.output import print_rows
    from titans_lab.store import compaction
    from titans_lab.store.folder import writing

    records = open_store(store, there=True)
    with writing(records):
        if remove:
            compaction.remove(records)
            return
        done = compaction.compact(records)
    if as_json:
        print_rows(list(vars(done)), [vars(done).values()], as_csv=False, as_json=True)
        return
    typer.echo(f"{done.runs} runs with a result, {done.added} of them new, in {done.size / 1e6:.1f} MB")


def compact_many(store: Store) -> None:
    """Compact a store in which many runs are read one by one; where that fails queries stay slow, no more."""
    from titans_lab.store import compaction

    try:
        if compaction.worthwhile(store):
            done = compaction.compact(store)
            typer.echo(f"compacted {done.runs} runs, so that queries stay fast", err=True)
    except OSError as error:
        typer.echo(f"note: {store.root} was not compacted ({error.strerror}); queries take longer", err=True)
