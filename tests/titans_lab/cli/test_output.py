from __future__ import annotations

import csv
import json
import math
from datetime import datetime

import pytest

from titans_lab.cli.output import print_rows
from titans_lab.tables import TextFormat, distinct

ROW = ['a, "b"\nc\x1b[31m', 1234567.125, None, math.nan, {"x": [1.5, math.inf]}, True, datetime(2026, 1, 2, 3, 4, 5)]
NAMES = ["text", "number", "nothing", "nan", "nested", "truth", "time"]


def printed(capsys: pytest.CaptureFixture[str], form: TextFormat) -> str:
    print_rows(NAMES, [ROW], form)
    return capsys.readouterr().out


def test_a_table_has_a_line_for_a_row_whatever_is_in_it(capsys: pytest.CaptureFixture[str]):
    head, _, row = printed(capsys, "table").splitlines()
    assert head.split() == NAMES
    text = r'a, "b"\nc\x1b[31m'  # a control code is shown, not obeyed
    assert row == f'{text}  1.23457e+06        -  nan  {{"x": [1.5, null]}}  True   2026-01-02 03:04:05'


def test_csv_has_every_digit(capsys: pytest.CaptureFixture[str]):
    names, row = csv.reader(printed(capsys, "csv").splitlines(keepends=True))
    assert names == NAMES
    assert row == [ROW[0], "1234567.125", "", "nan", '{"x": [1.5, null]}', "True", "2026-01-02 03:04:05"]


def test_json_has_null_for_what_is_no_number(capsys: pytest.CaptureFixture[str]):
    [row] = json.loads(printed(capsys, "json"), parse_constant=pytest.fail)
    assert row == {
        "text": ROW[0],
        "number": 1234567.125,
        "nothing": None,
        "nan": None,
        "nested": {"x": [1.5, None]},
        "truth": True,
        "time": "2026-01-02 03:04:05",
    }


@pytest.mark.parametrize(("form", "expected"), [("json", "[]\n"), ("csv", "a,b\n")])
def test_no_rows_are_an_empty_list_or_a_header_alone(
    capsys: pytest.CaptureFixture[str], form: TextFormat, expected: str
):
    print_rows(["a", "b"], [], form)
    assert capsys.readouterr().out == expected


def test_a_table_aligns_numbers_to_the_right_and_text_to_the_left(capsys: pytest.CaptureFixture[str]):
    print_rows(["name", "n"], [["a", 5], ["bcdef", 12345], ["g", None]], "table")
    assert capsys.readouterr().out.splitlines() == [
        "name       n",
        "─────  ─────",
        "a          5",
        "bcdef  12345",
        "g          -",
    ]


def test_columns_of_one_name_keep_their_own_values(capsys: pytest.CaptureFixture[str]):
    assert distinct(["a", "a_1", "a", "b", "a"]) == ["a", "a_1", "a_2", "b", "a_3"]
    print_rows(["a", "a"], [[1, 2]], "json")
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "a_1": 2}]
