"""The verbs that prepare text for studies."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from titans_lab.cli.arguments import Form, text_size
from titans_lab.cli.flags import Verb
from titans_lab.cli.output import note, print_document, print_rows, print_table, progress
from titans_lab.quantities import count
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.data.prepared import Manifest

data = typer.Typer(help="Prepare text once, as memory-mapped tokens.", no_args_is_help=True)


@data.command(cls=Verb)
def prepare(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A file, a folder of files, JSON lines (.jsonl), each plain or gzip; or a Hugging Face dataset, "
            "streamed: hf:REPOSITORY[:CONFIG[:SPLIT]], as in hf:Salesforce/wikitext:wikitext-103-raw-v1.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="The folder to write.")],
    tokenizer: Annotated[
        str,
        typer.Option(help="bytes; bpe:N, trained on the text; gpt2:VOCABULARY,MERGES; or json:FILE, a tokenizer.json."),
    ] = "bytes",
    valid: Annotated[str | None, typer.Option(metavar="SOURCE", help="A separate text for validation.")] = None,
    valid_fraction: Annotated[
        float, typer.Option(help="Without --valid, the share of the text that is for validation, at its end.")
    ] = 0.05,
    key: Annotated[str, typer.Option(help="The key of the text in a JSON line or in a row of a dataset.")] = "text",
    limit: Annotated[
        int | None,
        typer.Option(
            parser=text_size, metavar="SIZE", help="The most bytes to read, such as 200000, 200K, 1.5M or 2G."
        ),
    ] = None,
    one_document: Annotated[
        bool, typer.Option("--one-document", help="Join files, lines or rows to one document.")
    ] = False,
    form: Form = "table",
) -> None:
    """Tokenize a text into a folder, with the tokenizer and a manifest, for `data.path` in a study.

    A folder that the same command has made from the same files stays as it is.
    """
    from titans_lab.data.prepare import Request
    from titans_lab.data.prepare import prepare as make
    from titans_lab.data.sources import Source

    held_out = Source(valid, key) if valid else None
    request = Request(Source(source, key), held_out, tokenizer, valid_fraction, limit, one_document)
    with progress() as look:
        manifest, was_there = make(
            request, output.expanduser(), lambda what, *of: look(f"{what}: {count(of[0])}B", *of)
        )
    if was_there:
        note(f"{output}: the same command has prepared it before; it stays as it is")
    if manifest.train.text_sha256 == manifest.valid.text_sha256:
        note("warning: --valid: this is the training text, so that validation measures memorization")
    _print(manifest, output, form)


@data.command(cls=Verb)
def show(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that `data prepare` made.")],
    form: Form = "table",
) -> None:
    """Print what a prepared folder contains, and check its files."""
    from titans_lab.data.prepared import read_manifest, verify

    manifest = read_manifest(folder)
    verify(folder, manifest)
    _print(manifest, folder, form)


def _print(manifest: Manifest, folder: Path, form: TextFormat) -> None:
    parts = {"train": manifest.train, "valid": manifest.valid}
    if form == "json":
        print_document({"folder": str(folder), "digest": manifest.digest, **asdict(manifest)})
        return
    if form != "table":
        counted = ([name, part.tokens, part.bytes, part.documents, manifest.digest] for name, part in parts.items())
        print_rows(("part", "tokens", "bytes", "documents", "digest"), counted, form)
        return
    rows = (
        [name, count(part.tokens), count(part.bytes), f"{part.bytes / part.tokens:.2f}", count(part.documents)]
        for name, part in parts.items()
    )
    print_table(("part", "tokens", "bytes", "bytes/token", "documents"), rows)
    print(f"\nsource     {manifest.request['source']['name']}")
    print(f"tokenizer  {manifest.tokenizer}, {manifest.vocabulary} tokens, {manifest.dtype}")
    print(f"digest     {manifest.digest}")
    print(f"\nin a study: data.path={folder} (sets model.vocab_size to {manifest.vocabulary})")
