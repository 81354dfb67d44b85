from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from draws import python_random

from titans_lab.data import prepare as making
from titans_lab.data.prepare import Request, Span, prepare
from titans_lab.data.prepared import Manifest, map_part, read_manifest, read_tokenizer, verify
from titans_lab.data.sources import Source
from titans_lab.data.tokenizer import BYTES
from titans_lab.errors import UserError

TEXT = "The memory learns at test time.\nIt forgets, too; für 3 € an hour.\n" * 40


def no_look(*_: Any) -> None: ...


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def made(source: Path, folder: Path, **options: Any) -> Manifest:
    return prepare(Request(Source(str(source)), **options), folder, no_look)[0]


def read_all(folder: Path) -> None:
    verify(folder, read_manifest(folder))


def content(folder: Path) -> tuple[bytes, bytes]:
    manifest = read_manifest(folder)
    return tuple(map_part(folder, manifest, name).tobytes() for name in ("train", "valid"))  # type: ignore[return-value]


def test_bytes_are_the_text_and_its_end_is_held_out(text: Path, tmp_path: Path):
    manifest = made(text, tmp_path / "out", valid_fraction=0.1)
    train, valid = content(tmp_path / "out")
    assert train + valid == TEXT.encode()
    assert 0 <= len(TEXT.encode()) * 0.1 - len(valid) < 4
    assert (manifest.train.tokens, manifest.train.bytes, manifest.valid.bytes) == (len(train), len(train), len(valid))
    assert (manifest.vocabulary, manifest.dtype, manifest.tokenizer) == (256, "uint8", "bytes")
    assert read_tokenizer(tmp_path / "out", manifest) is BYTES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "text.txt"]
    verify(tmp_path / "out", manifest)


def test_the_cut_is_between_characters(tmp_path: Path):
    (tmp_path / "euro").write_text("€" * 100)
    for fraction in (0.1, 0.094, 0.097):  # 30, 28 and 29 bytes of characters of three
        made(tmp_path / "euro", tmp_path / str(fraction), valid_fraction=fraction)
        assert all(part.decode().strip("€") == "" for part in content(tmp_path / str(fraction)))


def test_a_zero_byte_is_between_documents_and_counts(tmp_path: Path):
    rows = [f"document {number}" for number in range(20)] + ["", "end"]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    manifest = made(tmp_path / "rows.jsonl", tmp_path / "out", valid_fraction=0.2)
    train, valid = content(tmp_path / "out")
    assert (train + valid).replace(b"\0", b"") == "".join(rows).encode()
    documents = [part.split(b"\0") for part in (train, valid)]
    assert [len(part) for part in documents] == [manifest.train.documents, manifest.valid.documents]
    assert manifest.train.documents + manifest.valid.documents in (21, 22)  # the cut may be within one
    assert manifest.train.bytes + manifest.valid.bytes == len(train + valid)
    made(tmp_path / "rows.jsonl", tmp_path / "one", valid_fraction=0.2, one_document=True)
    assert b"".join(content(tmp_path / "one")) == "".join(rows).encode()


def test_a_text_of_its_own_may_be_held_out(text: Path, tmp_path: Path):
    (tmp_path / "other").write_bytes(gzip.compress(b"something else"))
    made(text, tmp_path / "out", valid=Source(str(tmp_path / "other")))
    assert content(tmp_path / "out") == (TEXT.encode(), b"something else")


def test_reading_stops_at_the_limit(text: Path, tmp_path: Path):
    for number in range(5):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / str(number)).write_text(str(number) * 100)
    made(tmp_path / "many", tmp_path / "out", limit=250, valid_fraction=0.5)
    assert b"".join(content(tmp_path / "out")).replace(b"\0", b"") == b"0" * 100 + b"1" * 100 + b"2" * 50


def test_the_limit_is_kept_to_the_byte_and_cuts_no_character(text: Path, tmp_path: Path):
    for limit in (200, 48):  # the second one is within the sign of the euro
        made(text, tmp_path / str(limit), limit=limit, valid_fraction=0.5)
    whole = TEXT.encode()
    assert b"".join(content(tmp_path / "200")) == whole[:200]
    shorter = b"".join(content(tmp_path / "48"))
    assert whole.startswith(shorter)
    assert 45 <= len(shorter) <= 48
    assert shorter.decode()


def test_blocks_are_the_documents_cut_where_no_tokenizer_looks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(making, "BLOCK", 10)
    draw = python_random()
    for _ in range(50):
        text = "".join(draw.choices("ab .\n\t€'", k=200)).encode()
        ends = sorted({*draw.sample(range(1, len(text)), 3), len(text)})
        spans = [Span(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
        blocks = list(making.blocks_of(text, spans, no_look))  # type: ignore[arg-type]
        assert b"".join(block.text for block in blocks) == text
        begun = [place for place, block in enumerate(blocks) if block.begins]
        assert [sum(len(block.text) for block in blocks[:place]) for place in begun] == ends[:-1]
        for place, block in enumerate(blocks):
            if place and place not in begun:
                assert block.text[:1] in b" \n"
                assert chr(block.text[1]).isprintable()
                assert not chr(block.text[1]).isspace()


def test_the_digest_is_of_the_content_and_not_of_the_place(text: Path, tmp_path: Path):
    (tmp_path / "moved.gz").write_bytes(gzip.compress(TEXT.encode()))
    first = made(text, tmp_path / "1")
    assert made(tmp_path / "moved.gz", tmp_path / "2").digest == first.digest
    assert made(text, tmp_path / "3", valid_fraction=0.1).digest != first.digest
    text.write_text(TEXT.replace("3", "4"))
    assert made(text, tmp_path / "4").digest != first.digest
    held_out = [tmp_path / "a", tmp_path / "b"]
    for path in held_out:
        path.write_text(f"held out: {path.name}")
    one, other = (made(text, tmp_path / f"of {path.name}", valid=Source(str(path))).digest for path in held_out)
    assert one != other


def test_the_same_again_is_reused_and_anything_else_refused(text: Path, tmp_path: Path):
    request, folder = Request(Source(str(text))), tmp_path / "out"
    manifest, was_there = prepare(request, folder, no_look)
    assert not was_there
    assert prepare(request, folder, no_look) == (manifest, True)
    with pytest.raises(UserError, match=r"out: exists and was prepared from something else"):
        made(text, folder, valid_fraction=0.2)
    text.write_text(TEXT + "more")
    with pytest.raises(UserError, match=r"out: exists and was prepared from something else"):
        prepare(request, folder, no_look)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match=r"mine: not a prepared folder"):
        made(text, tmp_path / "mine")


ONE = Source("one")  # of the folder that the test is in
WRONG = {
    "a fraction": ({"valid_fraction": 1.0}, "--valid-fraction: 1.0 is not between"),
    "a tokenizer": ({"tokenizer": "words"}, "--tokenizer: 'words' is not bytes, bpe:N"),
    "a number": ({"tokenizer": "bpe:8k"}, "--tokenizer: 'bpe:8k' is not"),
    "few tokens": ({"tokenizer": "bpe:256"}, "--tokenizer: 256 tokens are fewer than the 257"),
    "one file of two": ({"tokenizer": "gpt2:vocab.json"}, "--tokenizer: 'gpt2:vocab.json' is not"),
    "no such file": ({"tokenizer": "gpt2:no.json,no.txt"}, "no.json: no such file"),
    "little text": ({"valid_fraction": 1e-6}, "0 held out by --valid-fraction"),
    "one byte to hold out": ({"valid": ONE}, "less than two tokens"),
    "no text to hold out": ({"valid": Source("no-such")}, "no-such: no such file or folder"),
}


@pytest.mark.parametrize(("options", "complaint"), WRONG.values(), ids=WRONG)
def test_a_failed_preparation_leaves_no_folder(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], complaint: str
):
    monkeypatch.chdir(tmp_path)
    Path("one").write_bytes(b"1")
    with pytest.raises(UserError, match=complaint):
        made(text, tmp_path / "out", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "text.txt"]


def test_an_input_that_ends_early_leaves_nothing(tmp_path: Path):
    (tmp_path / "text.gz").write_bytes(gzip.compress(random.randbytes(9999))[:-9])
    with pytest.raises(UserError, match=r"text\.gz:\d+: cannot be read"):
        made(tmp_path / "text.gz", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["text.gz"]


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("manifest.json", lambda old: old[:-9], "manifest.json: damaged"),
        (
            "manifest.json",
            lambda old: old.replace(b'"format": 1', b'"format": 9'),
            "format: 9 is not 1",
        ),
        ("manifest.json", lambda old: b"[]", "manifest.json: damaged"),
        ("train.bin", lambda old: old[:-1], "train.bin: .* bytes long, not "),
        ("valid.bin", lambda old: None, "valid.bin: missing"),
        ("valid.bin", lambda old: old[::-1], "valid.bin: its content has changed"),
        ("tokenizer.json", lambda old: b"{}", "tokenizer.json: missing or damaged"),
    ],
)
def test_damage_is_named(text: Path, tmp_path: Path, name: str, change: Any, complaint: str):
    folder = tmp_path / "out"
    made(text, folder)
    new = change((folder / name).read_bytes())
    (folder / name).unlink() if new is None else (folder / name).write_bytes(new)
    with pytest.raises(UserError, match=complaint):
        read_all(folder)


def test_parts_are_mapped_and_not_read(text: Path, tmp_path: Path):
    part = map_part(tmp_path / "out", made(text, tmp_path / "out"), "train")
    assert isinstance(part, np.memmap)
    assert not part.flags.writeable
