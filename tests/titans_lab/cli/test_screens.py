"""Tables that fit the terminal."""

from __future__ import annotations

from titans_lab.cli.screens import Screen, screen, screen_text

COLUMNS = {
    "run": ["momentum=false seed=0", "momentum=true seed=0"],
    "id": ["45164112", "7a85549f"],
    "state": ["done", "done"],
    "memory": ["363 MiB (299 to 440 MiB)", "-"],
    "tokens": ["59.9K", "60K"],
}


def test_constant_values_are_no_column():
    assert screen(COLUMNS, None).same == {"state": "done"}
    assert list(screen(COLUMNS, None).shown) == ["run", "id", "memory", "tokens"]
    one = {name: cells[:1] for name, cells in COLUMNS.items()}
    assert screen(one, None) == Screen(one, {}, ())


def test_the_last_columns_that_do_not_fit_are_named():
    assert screen(COLUMNS, 80).hidden == []
    assert screen(COLUMNS, 50).hidden == ["memory"]
    assert screen(COLUMNS, 35).hidden == ["memory", "tokens"]


def test_the_text_says_what_the_table_leaves_out():
    lines = screen_text(COLUMNS, wide=False, every="run").splitlines()
    assert lines[-2:] == ["", "Every run: state done."]
    assert screen_text(COLUMNS, wide=True, every="run").splitlines()[0].split() == list(COLUMNS)
