from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest

from titans_lab.tables import to_csv, to_json, to_table


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1+1", "-1+cmd|' /C calc'!A0", "+\r=1"],
)
def test_csv_has_no_cell_that_a_spreadsheet_would_run(text: str):
    for row in csv.reader(io.StringIO(to_csv([text, "b"], [[text, "b"]]), newline="")):
        assert row == [f"'{text}", "b"]


@pytest.mark.parametrize("value", [-1, -1.5, "-1.5", "+3", "-inf", Decimal("-1.10"), "x=1", ""])
def test_csv_leaves_numbers_and_other_texts_as_they_are(value: object):
    assert to_csv(["a"], [[value, "b"]]).splitlines()[1] == f"{value},b"


def test_json_has_all_digits_of_an_integer_and_a_text_for_what_a_number_cannot_say():
    row = [2**100, Decimal(2**100), Decimal("1.10"), Decimal("0.12345678901234567890")]
    assert to_json(list("abcd"), [row]) == (
        f'[\n {{\n  "a": {2**100},\n  "b": {2**100},\n  "c": 1.1,\n  "d": "0.12345678901234567890"\n }}\n]\n'
    )


NAMES = ["run", "id", "loss"]
ROWS = [["a label that is rather long for it", "0a1b", "1.25"], ["short", "ff00", "12.5"]]


def test_a_table_that_is_too_wide_loses_the_ends_of_its_longest_texts():
    assert to_table(NAMES, ROWS, 30).splitlines() == [
        "run                 id    loss",
        "──────────────────  ────  ────",
        "a label that is r…  0a1b  1.25",
        "short               ff00  12.5",
    ]
    assert max(map(len, to_table(NAMES, ROWS, 24).splitlines())) == 24
    assert to_table(NAMES, ROWS, 80) == to_table(NAMES, ROWS)


def test_a_table_that_fits_by_no_cut_continues_below():
    assert to_table(NAMES, ROWS, 20).splitlines() == [
        "run             id",
        "──────────────  ────",
        "a label that …  0a1b",
        "short           ff00",
        "",
        "run             loss",
        "──────────────  ────",
        "a label that …  1.25",
        "short           12.5",
    ]


@pytest.mark.parametrize("width", [1, 10, 40, 79, 200, None])
def test_every_column_is_shown_at_every_width(width: int | None):
    names = [f"column {place}" for place in range(30)]
    text = to_table(names, [[f"cell {place}" * place for place in range(30)], [""] * 30], width)
    assert all(f"column {place}" in text for place in range(30))
    if width and width > 30:
        assert max(map(len, text.splitlines())) <= width


def test_a_table_may_have_no_rows_or_no_columns():
    assert to_table(["a", "b"], [], 10) == "a  b\n─  ─\n"
    assert to_table([], [], 10) == "\n"
