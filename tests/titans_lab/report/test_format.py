from __future__ import annotations

import pytest

from titans_lab.report import format as shown


@pytest.mark.parametrize(
    ("value", "text"),
    [(950, "950"), (1234, "1.23 k"), (421_376, "421 k"), (4e6, "4 M"), (1.5e15, "1.5 P"), (None, "–")],
)
def test_short(value: float | None, text: str):
    assert shown.short(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(9.4, "9 s"), (59.7, "1 min 0 s"), (95, "1 min 35 s"), (3599.8, "1 h 0 min"), (7260, "2 h 1 min"), (None, "–")],
)
def test_duration(seconds: float | None, text: str):
    assert shown.duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(1536, "2 KiB"), (512 * 2**20, "512 MiB"), (3 * 2**29, "1.5 GiB"), (None, "–")]
)
def test_memory(size: float | None, text: str):
    assert shown.memory(size) == text


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
