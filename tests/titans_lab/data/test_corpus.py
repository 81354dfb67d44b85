from __future__ import annotations

import gzip
import hashlib
import os
import platform
import time
from pathlib import Path

import numpy as np
import pytest

import titans_lab.data.files
from titans_lab.data.corpus import corpus_digest, load_corpus, standard_library
from titans_lab.errors import UserError
from titans_lab.run.config import DataConfig

TEXT = bytes(range(56, 256)) * 5


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    return path


def test_the_parts_are_the_text_in_order_and_share_nothing(text: Path):
    corpus = load_corpus(DataConfig(path=str(text), valid_fraction=0.1))
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (900, 50, 50)
    assert np.concatenate([corpus.train, corpus.valid, corpus.test]).tobytes() == TEXT


def test_valid_bytes_shortens_the_held_out_end_without_lengthening_the_training_part(text: Path):
    corpus = load_corpus(DataConfig(path=str(text), valid_fraction=0.1, valid_bytes=30))
    parts = corpus.train, corpus.valid, corpus.test
    assert tuple(part.tobytes() for part in parts) == (TEXT[:900], TEXT[900:930], TEXT[950:980])


def test_gzip_is_told_by_its_content_and_hashes_like_the_plain_text(text: Path, tmp_path: Path):
    packed = tmp_path / "packed.txt"
    packed.write_bytes(gzip.compress(TEXT))
    plain, unpacked = load_corpus(DataConfig(path=str(text))), load_corpus(DataConfig(path=str(packed)))
    assert unpacked.valid.tobytes() == plain.valid.tobytes()
    assert unpacked.digest == plain.digest == hashlib.sha256(TEXT).hexdigest()
    assert (plain.source, unpacked.source) == (str(text), str(packed))


def test_the_digest_follows_the_content_of_a_changed_file(text: Path):
    config = DataConfig(path=str(text))
    before = corpus_digest(config)
    assert before == load_corpus(config).digest
    text.write_bytes(TEXT[1:] + TEXT[:1])
    os.utime(text, (0, 0))
    assert corpus_digest(config) == load_corpus(config).digest != before


def test_the_default_is_the_source_of_this_python_and_the_same_each_time():
    corpus = load_corpus(DataConfig())
    assert corpus.source == f"Python {platform.python_version()} standard library"
    assert corpus.digest == corpus_digest(DataConfig()) == load_corpus(DataConfig()).digest
    assert len(corpus.train) > 4e6
    assert b"def " in corpus.train.tobytes()
    assert b"def " in corpus.valid.tobytes()


def test_the_default_is_hashed_in_an_instant():
    corpus_digest(DataConfig())  # a first read comes from the disk
    start = time.perf_counter()
    hashlib.sha256(standard_library(Path(os.__file__).parent)).hexdigest()
    assert time.perf_counter() - start < 1


def test_the_default_leaves_out_what_installers_add_or_strip(tmp_path: Path):
    kept = {"a.py": b"a", "json/decoder.py": b"b", "email/mime/text.py": b"c"}
    dropped = [
        "site-packages/x.py",
        "dist-packages/x.py",
        "test/x.py",
        "unittest/test/x.py",
        "sqlite3/tests/x.py",
        "__pycache__/x.py",
        "config-3.11-x86_64-linux-gnu/x.py",
        "_sysconfigdata__linux_.py",
        "sitecustomize.py",
        "lib-dynload/x.so",
        "LICENSE.txt",
    ]
    for name, content in kept.items() | {(name, b"dropped") for name in dropped}:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    in_order = sorted(kept, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert standard_library(tmp_path) == b"".join(kept[name] for name in in_order)


def damaged(content: bytes) -> bytes:
    packed = bytearray(gzip.compress(content))
    packed[len(packed) // 2] ^= 0xFF
    return bytes(packed)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (gzip.compress(TEXT, mtime=0)[:-5], "is damaged or cut off"),
        (gzip.compress(TEXT, mtime=0)[:4], "is damaged or cut off"),
        (damaged(os.urandom(4000)), "is damaged or cut off"),
        (gzip.compress(TEXT, mtime=0) + b"tail", "is damaged or cut off"),
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"too short", "data.valid_fraction"),
    ],
    ids=range(7),  # the contents differ from process to process
)
def test_a_text_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path, content: bytes, complaint: str):
    path = tmp_path / "bad.gz"
    path.write_bytes(content)
    for read in (load_corpus, corpus_digest):
        with pytest.raises(UserError, match=rf"^data\.path: .*{complaint}") as caught:
            read(DataConfig(path=str(path)))
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "complaint"), [("missing.txt", "cannot read .*give a text file"), (".", ".*: not a prepared folder")]
)
def test_a_missing_file_or_a_folder_is_named(tmp_path: Path, name: str, complaint: str):
    path = str(tmp_path / name)
    for read in (load_corpus, corpus_digest):
        with pytest.raises(UserError, match=rf"^data\.path: {complaint}") as caught:
            read(DataConfig(path=path))
        assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_too_large_to_read_each_time_is_to_be_prepared(text: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(titans_lab.data.files, "LARGEST", len(TEXT) - 1)
    with pytest.raises(
        UserError, match=r"^data\.path: .* has more than 999 bytes, .*titans-lab data prepare .*text\.txt -o FOLDER"
    ):
        corpus_digest(DataConfig(path=str(text)))
