from __future__ import annotations

import pytest
import typer

from titans_lab.cli.arguments import seconds


@pytest.mark.parametrize(
    ("words", "expected"), [("90s", 90), ("2h", 7200), ("30", 1800), ("1.5m", 90), (" 2 H ", 7200), (".5h", 1800)]
)
def test_a_time_is_read_as_people_write_it(words: str, expected: float):
    assert seconds(words) == expected


@pytest.mark.parametrize("words", ["", "0", "-5", "2d", "h", "1h30m", "nan", "inf", "1e3"])
def test_what_is_no_time_is_refused(words: str):
    with pytest.raises(typer.BadParameter, match="write 90s, 30m or 2h"):
        seconds(words)
