from __future__ import annotations

import pytest

from titans_lab.report import format as shown


def test_unknown_figures_are_a_dash_and_others_as_on_a_terminal():
    figures = (shown.short, shown.memory, shown.duration)
    assert [show(None) for show in figures] == ["–"] * 3
    assert [show(421_376) for show in figures] == ["421K", "412 KiB", "117h02m"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (list("abc"), "a, b and c"),
        (list("abcdef"), "a, b, c and 3 more"),
    ],
)
def test_join(words: list[str], text: str):
    assert shown.join(words) == text
