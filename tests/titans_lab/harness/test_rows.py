from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from titans_lab.errors import UserError
from titans_lab.harness.rows import articles, find, read
from titans_lab.harness.table import COLUMNS, TASKS, table

PIQA = {"goal": "g", "sol1": "a", "sol2": "b", "label": 1, "more": 0}


def rows(task: str, path: Path, *content: Any) -> list[dict[str, Any]]:
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return list(read(task, path))


def test_rows_have_the_keys_of_the_hub(tmp_path: Path):
    assert rows("piqa", tmp_path / "x.jsonl", PIQA) == [{"goal": "g", "sol1": "a", "sol2": "b", "label": 1}]
    letters = {"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}
    plain = {"question": "q", "choices": ["x", "y"], "gold": 1}
    assert rows("arc_easy", tmp_path / "x.jsonl", letters, plain) == [letters] * 2
    for answer in ({"answer": True}, {"label": 1}):
        assert rows("boolq", tmp_path / "x.jsonl", {"passage": "p", "question": "q", **answer})[0]["label"] == 1
    made = {"query": "q", "choices": ["x", "y"], "gold": 1}
    assert rows("hellaswag", tmp_path / "x.jsonl", made) == [{"query": "q", "choices": ["x", "y"], "label": 1}]


def test_the_file_of_a_task_is_found_by_its_name_and_the_test_split_first(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    for name in (
        "arc_easy_train.jsonl",
        "deep/arc_easy_validation.jsonl.gz",
        "arc_easy_validation.txt",
        "siqa_dev.jsonl",
    ):
        (tmp_path / name).touch()
    assert find("arc_easy", tmp_path) == (tmp_path / "deep" / "arc_easy_validation.jsonl.gz", "valid")
    assert find("social_iqa", tmp_path) == (tmp_path / "siqa_dev.jsonl", "valid")
    (tmp_path / "arc_easy_test.jsonl").touch()
    assert find("arc_easy", tmp_path) == (tmp_path / "arc_easy_test.jsonl", "test")
    with pytest.raises(UserError, match=r"--data: .* has no file for piqa: JSON lines, .* called piqa\*"):
        find("piqa", tmp_path)
    with pytest.raises(UserError, match=r"--data: .*no-such: no such folder"):
        find("piqa", tmp_path / "no-such")


@pytest.mark.parametrize(
    ("task", "row", "complaint"),
    [
        ("piqa", {"goal": "g"}, r":2: no 'sol1'; its keys are goal"),
        ("arc_easy", {"question": "q", "choices": ["x"], "gold": 1}, r":2: not a row of this task"),
        ("boolq", {"passage": "p", "question": "q", "label": "maybe"}, r":2: not a row of this task"),
        ("piqa", [1], r":2: not a JSON object"),
    ],
)
def test_a_row_that_does_not_serve_is_named_by_file_and_line(tmp_path: Path, task: str, row: Any, complaint: str):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError, match=rf"^{path}{complaint}"):
        list(read(task, path))


def test_files_without_rows_or_ends_are_named(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    for content, complaint in (
        (b"", "empty"),
        (b"\n", "empty"),
        (gzip.compress(b'{"text": ""}\n' * 99)[:-9], r"\d+: "),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"^{path}:? ?{complaint}"):
            list(read("lambada_openai", path))


def test_wikitext_is_its_articles(tmp_path: Path):
    first = " = One = \n \n Text = more . \n \n = = Part = = \n \n More . \n \n"
    second = " = Two = \n \n Text . \n"
    (tmp_path / "wiki.valid.tokens").write_text(" \n" + first + second)
    assert articles(tmp_path / "wiki.valid.tokens") == [first, second]
    assert find("wikitext", tmp_path)[1] == "valid"
    assert list(read("wikitext", tmp_path / "wiki.valid.tokens")) == [{"page": first}, {"page": second}]


MAG = (25.07, 28.72, 36.71, 64.88, 40.56, 52.49, 57.72, 28.16, 39.75, 60.01)  # table 1, 340M


def test_the_table_has_the_papers_columns_and_average():
    figures = {
        (column.task, column.metric): value / (100 if column.percent else 1)
        for column, value in zip(COLUMNS, MAG, strict=True)
    }
    row = table(figures)
    assert list(row.values()) == pytest.approx([*MAG, 47.54], abs=0.006)
    assert len(TASKS) == 9
    del figures["boolq", "acc"]
    assert (table(figures)["BoolQ acc"], table(figures)["average"]) == (None, None)
