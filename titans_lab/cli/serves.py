"""The verb `serve`, which shows a store live in a browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from titans_lab.cli.arguments import Overrides, StoreFolder, load, open_store
from titans_lab.cli.interrupts import terminable
from titans_lab.cli.output import note

LOCAL = "127.0.0.1"


def serve(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="A study file. Default: all studies of the store.")
    ] = None,
    overrides: Overrides = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on. Any but the default shows the page to other machines.")
    ] = LOCAL,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port. 0: any that is free.")] = 0,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    store: StoreFolder = None,
) -> None:
    """Show the runs of a study, or of a whole store, and the report on a page that keeps itself up to date.

    The page is read-only. Who knows its address, which has a random token, can read it, by default on this machine
    only. Ctrl-C ends it.
    """
    from titans_lab.serve import LiveServer
    from titans_lab.serve.live import Live

    records = open_store(store)
    live = Live(records, load(study, overrides) if study else None)
    with LiveServer(live, host, port) as server:
        if host != LOCAL:
            note(f"warning: who knows the address can read {records.root} from other machines, without encryption")
        typer.echo(server.address)
        note("Ctrl-C ends it")
        if show:
            webbrowser.open(server.address)
        try:
            with terminable():
                server.serve_forever()
        except KeyboardInterrupt:
            return
