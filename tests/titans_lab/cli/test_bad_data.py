"""Data that cannot serve: one message, exit code 2, and nothing written."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

SERIES = (
    "base: {task: {name: series, series: {look_back: 6, horizon: 3}}, train: {seq_len: 3, batch_size: 2, tokens: 60}}"
)
GENOME = "base: {task: {name: genome}, train: {seq_len: 8, batch_size: 2, tokens: 60}}"
DNA = "base: {task: {name: dna}, train: {seq_len: 8, batch_size: 2, tokens: 60}}"
TABLE = "\n".join(["date,a,b", *(f"2020-01-01,{i},{i % 7}" for i in range(40))]).encode()
LABELLED = b"sequence,label\nACGT,0\nCCGT,1\n"

CASES: dict[str, tuple[str, bytes | None, str]] = {
    "a wrong path": (SERIES, None, "data.path: cannot read"),
    "a truncated gzip": (SERIES, gzip.compress(TABLE)[:-9], "is damaged or cut off"),
    "an empty file": (SERIES, b"", "is empty"),
    "a missing column": (SERIES, TABLE.replace(b"date,", b"day,", 1), "data:1: the columns are day, a, b"),
    "a missing cell": (SERIES, TABLE + b"\n2020-01-01,3", "data:42: 2 cells"),
    "a cell that is no number": (SERIES, TABLE + b"\n2020-01-01,3,high", "data:42: b: 'high' is no finite number"),
    "too few rows": (SERIES, TABLE[: TABLE.index(b"\n2020-01-01,11,")], "its train part gives"),
    "a label of its own": (GENOME, LABELLED + b"GGGT,2\n", "has 3 labels (0, 1, 2)"),
    "no label": (GENOME, LABELLED.replace(b"label", b"kind"), "data:1: the columns are sequence, kind"),
    "a letter that is no base": (GENOME, LABELLED + b"GG?T,1\n", "data:4: '?' is no base"),
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
