from __future__ import annotations

import math

import pytest

from titans_lab.durations import parse_duration, spell_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("15m", 900), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("1d12h", 129_600), ("4m05s", 245)],
)
def test_a_duration_has_a_unit(text: str, seconds: float):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["30", "1"])
def test_a_bare_number_is_refused_with_the_units_that_it_may_have(text: str):
    with pytest.raises(ValueError, match=f"{text} has no unit; write {text}s, {text}m or {text}h"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-5s", "h", "30m1h", "1h1h", "nan", "inf", "1e3s", "2 h", "2H", "9" * 400 + "h", "\u0663s"]
)
def test_a_text_that_is_no_duration_is_refused(text: str):
    with pytest.raises(ValueError, match="write 30s, 15m, 2h or 1h30m"):
        parse_duration(text)


DURATIONS = {0: "0s", 59.4: "59s", 59.6: "1m00s", 245: "4m05s", 3599.7: "1h00m", 7830: "2h10m", 360000: "100h00m"}


@pytest.mark.parametrize(("seconds", "text"), [*DURATIONS.items(), (None, "?"), (math.nan, "?"), (math.inf, "?")])
def test_durations_are_for_people(seconds: float | None, text: str):
    assert spell_duration(seconds) == text
