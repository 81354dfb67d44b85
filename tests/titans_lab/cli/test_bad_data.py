"""Data that cannot serve: one message, exit code 2, and nothing written."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

SERIES = (
    "base: {task: {name: series, series: {look_back: 6, horizon: 3}}, train: {seq_len: 3, batch_size: 2, tokens: 60}}"
)
GENOME = "base: {task: {name: genome}, train: {seq_len: 8, batch_size: 2, tokens: 60}}"
DNA = "base: {task: {name: dna}, train: {seq_len: 8, batch_size: 2, tokens: 60}}"
TEXT = "base: {train: {seq_len: 64, batch_size: 2, tokens: 256}}"
STORIES = "base: {task: {name: babilong}, train: {seq_len: 140, batch_size: 2, tokens: 560}}"
STORY = "1 Mary%d moved to the bathroom.\n2 Where is Mary%d?\tbathroom\t1\n"
PROSE = b"The memory learns at test time, and forgets what it need not keep. "
TABLE = "\n".join(["date,a,b", *(f"2020-01-01,{i},{i % 7}" for i in range(40))]).encode()
DAYS = [b"2020-01-%02d,%d,%d" % (day, day, day % 7) for day in range(1, 31)]
LABELLED = b"sequence,label\nACGT,0\nCCGT,1\n"

CASES: dict[str, tuple[str, bytes | None, str]] = {
    "a wrong path": (SERIES, None, "data.path: cannot read"),
    "a truncated gzip": (SERIES, gzip.compress(TABLE)[:-9], "is damaged or cut off"),
    "an empty file": (SERIES, b"", "is empty"),
    "a missing column": (SERIES, TABLE.replace(b"date,", b"day,", 1), "data:1: the columns are day, a, b"),
    "a missing cell": (SERIES, TABLE + b"\n2020-01-01,3", "data:42: 2 cells"),
    "a cell that is no number": (SERIES, TABLE + b"\n2020-01-01,3,high", "data:42: b: 'high' is not a finite number"),
    "too few rows": (SERIES, TABLE[: TABLE.index(b"\n2020-01-01,11,")], "its train part gives"),
    "a label of its own": (GENOME, LABELLED + b"GGGT,2\n", "has 3 labels (0, 1, 2)"),
    "no label": (GENOME, LABELLED.replace(b"label", b"kind"), "data:1: the columns are sequence, kind"),
    "a letter that is not a base": (GENOME, LABELLED + b"GG?T,1\n", "data:4: '?' is not a base"),
    "a series with the newest first": (
        SERIES,
        b"\n".join([b"date,a,b", *reversed(DAYS)]),
        "data:3: date: '2020-01-29' is before '2020-01-30' in the line above, as in 29 of the lines; sort them",
    ),
    "a series in no order": (
        SERIES,
        b"\n".join([b"date,a,b", *DAYS[15:], *DAYS[:15]]),
        "data:17: date: '2020-01-01' is before '2020-01-30' in the line above, as in 1 of the lines; sort them",
    ),
    "a text shorter than a window": (
        f"{TEXT[:-1]}, data: {{valid_fraction: 0.2}}}}",
        PROSE,
        "train.seq_len: 64 and one more to predict are",
    ),
    "a Parquet file": (TEXT, b"PAR1" + PROSE * 9, "data is a Parquet file, no text; `titans-lab data prepare FILE"),
    "a zip archive": (TEXT, b"PK\x03\x04" + PROSE * 9, "data is a zip archive, no text; unpack it"),
    "a tar archive in gzip": (TEXT, gzip.compress(PROSE.ljust(257, b"\0") + b"ustar" + PROSE * 9), "is a tar archive"),
    "text in UTF-16": (
        TEXT,
        (PROSE * 9).decode().encode("utf-16"),
        "data is text in UTF-16, no text; write it",
    ),
    "numbers as bytes": (TEXT, bytes(range(256)) * 9, "data is not text: 10% of its bytes are control characters"),
    "cut off bz2": (TEXT, bz2.compress(PROSE * 99)[:-9], "data is damaged or cut off"),
    "cut off xz": (TEXT, lzma.compress(PROSE * 99)[:-9], "data is damaged or cut off"),
    "cut off zstd": (TEXT, pa.compress(PROSE * 99, "zstd", asbytes=True)[:-9], "data is damaged or cut off"),
    "a FASTA file without a header": (DNA, b"ACGT\nACGT\n", "data:1: a sequence without a header"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_before_anything_is_written(cli: Any, tmp_path: Path, case: str):
    study, content, words = CASES[case]
    (tmp_path / "study.yaml").write_text(study)
    if content is not None:
        (tmp_path / "data").write_bytes(content)
    before = sorted(tmp_path.iterdir())
    overrides = (f"data.path={tmp_path / 'data'}", "--store", tmp_path / "results")
    ended = cli("sweep", tmp_path / "study.yaml", *overrides)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert ";" in ended.err  # a remedy
    assert sorted(tmp_path.iterdir()) == before


def test_a_missing_file_of_a_shipped_study_is_named_with_where_to_look(cli: Any):
    ended = cli("plan", Path(__file__).parents[3] / "studies" / "ett.yaml", "data.path=data/nowhere.csv")
    assert ended.code == 2
    assert "data.path: cannot read data/nowhere.csv (No such file or directory)" in ended.err
    assert ended.err.endswith("The first lines of the study may say where to get it\n")


@pytest.mark.parametrize("name", ["/proc/kmsg", "/dev/zero", "pipe", "empty"])
def test_devices_and_pipes_are_refused_and_not_read(cli: Any, tmp_path: Path, name: str):
    (tmp_path / "study.yaml").write_text(TEXT)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    ended = cli("plan", tmp_path / "study.yaml", f"data.path={tmp_path / name}", "--store", tmp_path / "results")
    assert (ended.code, ended.out) == (2, "")
    assert "is a device or a pipe, not a file; give" in ended.err or "is empty; give" in ended.err


def test_a_folder_that_was_not_prepared_is_told_apart_from_one_that_was_split(cli: Any, tmp_path: Path):
    (tmp_path / "study.yaml").write_text(TEXT)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_bytes(PROSE * 99)
    plan = ("plan", tmp_path / "study.yaml", "data.valid_fraction=0.2", "--store", tmp_path / "results")
    ended = cli(*plan, f"data.path={tmp_path / 'texts'}")
    assert (ended.code, ended.out) == (2, "")
    assert f"data.path: {tmp_path / 'texts'}: not a prepared folder; `titans-lab data prepare` makes one" in ended.err
    assert cli("data", "prepare", tmp_path / "texts" / "one.txt", "-o", tmp_path / "tokens").code == 0
    ended = cli(*plan, f"data.path={tmp_path / 'tokens'}")
    assert (ended.code, ended.out) == (2, "")
    assert "data.valid_fraction: " in ended.err
    assert "tokens was split when it was prepared (its --valid-fraction); remove this one" in ended.err


def test_a_path_that_a_variable_left_empty_is_refused(cli: Any, tmp_path: Path):
    (tmp_path / "study.yaml").write_text(TEXT)
    for override in ("data.path=''", "data.path=' '", "data.path=", "data.path= "):
        ended = cli("plan", tmp_path / "study.yaml", override, "--store", tmp_path / "results")
        assert (ended.code, ended.out) == (2, "")
        refused = "is empty; name a file or a folder, or write null" if "'" in override else "the value is empty; write"
        assert f"data.path: {refused}" in ended.err
    assert cli("plan", tmp_path / "study.yaml", "data.path=null", "--store", tmp_path / "results").code == 0


def test_a_home_is_understood(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "study.yaml").write_text(TEXT)
    (tmp_path / "text").write_bytes(PROSE * 99)
    assert cli("plan", tmp_path / "study.yaml", "data.path=~/text", "--store", tmp_path / "results").code == 0


def test_a_story_that_no_sequence_holds_is_refused(cli: Any, tmp_path: Path):
    (tmp_path / "facts").write_text("".join(STORY % (number, number) for number in range(60)) + "\n\n")
    (tmp_path / "book").write_bytes(PROSE * 99)
    (tmp_path / "study.yaml").write_text(STORIES)
    overrides = (f"task.babilong.facts={tmp_path / 'facts'}", f"data.path={tmp_path / 'book'}")
    assert cli("plan", tmp_path / "study.yaml", *overrides, "--store", tmp_path / "results").code == 0
    ended = cli("plan", tmp_path / "study.yaml", *overrides, "train.seq_len=70", "--store", tmp_path / "results")
    assert (ended.code, ended.out) == (2, "")
    assert "train.seq_len: 70 is too short for any story" in ended.err


def test_two_words_are_too_few_for_needles_that_are_words(cli: Any, tmp_path: Path):
    study = "base: {task: {name: needle, needle: {kind: word}}, train: {seq_len: 512, batch_size: 2, tokens: 2048}}"
    (tmp_path / "study.yaml").write_text(study)
    for name in ("adjectivelist.txt", "nounlist.txt"):
        (tmp_path / name).write_text("calm")
    override = f"task.needle.words={tmp_path}"
    ended = cli("plan", tmp_path / "study.yaml", override, "--store", tmp_path / "results")
    assert (ended.code, ended.out) == (2, "")
    assert "none of its pairs of words is" in ended.err


@pytest.mark.parametrize("kind", ["passkey", "number", "uuid", "word"])
def test_words_that_are_longer_than_a_sequence_are_refused(cli: Any, tmp_path: Path, kind: str):
    study = "base: {task: {name: needle}, train: {seq_len: 600, batch_size: 2, tokens: 9999}}"
    (tmp_path / "study.yaml").write_text(study)
    (tmp_path / "adjectivelist.txt").write_text("\n".join("abcdefghijklm"))
    (tmp_path / "nounlist.txt").write_text(f"river\nlake\n{'x' * 200}")
    plan = ("plan", tmp_path / "study.yaml", f"task.needle.words={tmp_path}", f"task.needle.kind={kind}")
    ended = cli(*plan, "--store", tmp_path / "results")
    assert (ended.code, ended.out) == (2, "")
    assert "train.seq_len: 600 is too short for the longest words of" in ended.err
    [least] = re.findall(r"set train.seq_len=(\d+) or more", ended.err)
    assert cli(*plan, f"train.seq_len={least}", "--store", tmp_path / "results").code == 0
    assert cli(*plan, f"train.seq_len={int(least) - 1}", "--store", tmp_path / "results").code == 2


@pytest.mark.parametrize(
    ("book", "part"),
    [
        (b"Hi. ", "for validation, which has the first half of its last tenth"),
        (b"Here it is: all of this.".ljust(900), "for validation, which has the first half of its last tenth"),
        (b"*** START OF THE BOOK ***\n*** END OF THE BOOK ***\nlicence", "to train on"),
    ],
)
def test_a_book_with_nothing_in_one_of_its_parts_is_refused(cli: Any, tmp_path: Path, book: bytes, part: str):
    (tmp_path / "facts").write_text("".join(STORY % (number, number) for number in range(60)))
    (tmp_path / "book").write_bytes(book)
    (tmp_path / "study.yaml").write_text(STORIES)
    overrides = (f"task.babilong.facts={tmp_path / 'facts'}", f"data.path={tmp_path / 'book'}")
    ended = cli("plan", tmp_path / "study.yaml", *overrides, "--store", tmp_path / "results")
    assert (ended.code, ended.out) == (2, "")
    assert f"data.path: {tmp_path / 'book'} has no prose {part}; give a longer text" in ended.err


def test_a_channel_that_is_constant_in_the_training_part_is_a_warning(cli: Any, tmp_path: Path):
    (tmp_path / "study.yaml").write_text(SERIES)
    lines = (f"2020-01-01,{i % 5},{14.62 if i < 480 else 14.72},3" for i in range(600))
    (tmp_path / "data").write_text("\n".join(["date,a,b,c", *lines]))
    overrides = (f"data.path={tmp_path / 'data'}", "--store", tmp_path / "results")
    ended = cli("plan", tmp_path / "study.yaml", *overrides)
    assert ended.code == 0
    assert "constant in the training part, and so not scaled: b, c; leave these columns out" in ended.err


def test_a_test_file_that_is_the_training_file_is_a_warning(cli: Any, tmp_path: Path):
    (tmp_path / "study.yaml").write_text(GENOME)
    rows = b"".join(b"%s,%d\n" % (b"ACGT"[n % 4 :] + b"ACGT" * (n // 4 + 1), n % 2) for n in range(40))
    for name in ("data", "test"):
        (tmp_path / name).write_bytes(b"sequence,label\n" + rows)
    overrides = (f"data.path={tmp_path / 'data'}", f"data.test_path={tmp_path / 'test'}", "data.valid_fraction=0.3")
    ended = cli("plan", tmp_path / "study.yaml", *overrides, "--store", tmp_path / "results")
    assert ended.code == 0
    assert "warning: data.test_path: has the content of data.path" in ended.err
    (tmp_path / "text").write_bytes(PROSE * 9)
    ended = cli("data", "prepare", tmp_path / "text", "--valid", tmp_path / "text", "-o", tmp_path / "out")
    assert (ended.code, "warning: --valid: this is the training text" in ended.err) == (0, True)
