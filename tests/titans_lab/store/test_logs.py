from __future__ import annotations

import json
from pathlib import Path

from titans_lab.store.columns import METRICS
from titans_lab.store.logs import LINE_BYTES, latest_row, read_lines


def test_the_latest_row_is_the_last_complete_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert latest_row(path) is None
    path.write_text('{"step": 1')
    assert latest_row(path) is None
    path.write_text('{"step": 1}\n{"step": 2, "loss": 3}\n{"step": 3')
    row = latest_row(path)
    assert row is not None
    assert (row["step"], row["loss"], row["lr"]) == (2, 3.0, None)


def test_the_latest_row_of_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss": 1 / 3}) for step in range(1000)]
    path.write_text("\n".join(lines) + "\n")
    assert path.stat().st_size > 2 * LINE_BYTES
    row = latest_row(path)
    assert row is not None
    assert row["step"] == 999


def test_the_latest_row_where_the_last_line_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\n')
    assert latest_row(path) is None


def test_a_huge_value_is_named_in_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "loss": "9" * 10**6}) + "\n")
    rows, [damage] = read_lines(path, METRICS)
    assert [(row["step"], row["loss"]) for row in rows] == [(1, None)]
    assert str(damage).endswith("99999999... is not of type float")
    assert len(str(damage)) < 300
