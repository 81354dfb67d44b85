from __future__ import annotations

import re
from typing import Any, Literal

import pytest

from titans_lab.errors import nearest
from titans_lab.run.values import typed

KEYS = ("model.dim", "model.memory.depth", "model.memory.loss", "train.lr", "data.valid_bytes", "log.valid_bytes")


@pytest.mark.parametrize(
    ("hint", "value", "result"),
    [(float, 1, 1.0), (float | None, 2, 2.0), (int | None, None, None), (Literal["a", "b"], "a", "a"), (str, "4", "4")],
)
def test_a_right_value_comes_back_in_its_declared_type(hint: Any, value: Any, result: Any) -> None:
    assert typed(hint, value) == result
    assert type(typed(hint, value)) is type(result)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, "4", '"4" is text, not an integer; write 4'),
        (int, 4.0, "4.0 is a number, not an integer; write 4"),
        (int, 4.5, "4.5 is a number, not an integer"),
        (int, True, "true is a boolean, not an integer"),
        (float, False, "false is a boolean, not a finite number"),
        (float | None, float("nan"), "NaN is a number, not a finite number or null"),
        (float, float("inf"), "Infinity is a number, not a finite number"),
        (bool, "on", '"on" is text, not true or false; write true'),
        (bool, "No", '"No" is text, not true or false; write false'),
        (bool, 1, "1 is an integer, not true or false"),
        (str | None, 2024, '2024 is an integer, not text or null; write "2024"'),
        (int, None, "null, not an integer"),
        (int, [1, 2], "a list, not an integer; a key that varies belongs under grid"),
        (str, [], "a list, not text"),
        (bool, {"a": 1}, "a mapping, not true or false"),
        (Literal["sum", "mean"], "avg", '"avg" is text, not one of sum, mean'),
        (int, "a" * 5000, '"' + "a" * 59 + "... is text, not an integer"),
    ],
)
def test_a_wrong_value_is_refused_with_a_remedy(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        typed(hint, value)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("model.memory.dpeth", "did you mean model.memory.depth?"),
        ("model.memroy.depth", "did you mean model.memory.depth?"),
        ("train.dim", "did you mean model.dim?"),
        ("valid_bytes", "did you mean data.valid_bytes or log.valid_bytes?"),
        ("train.momentum", "valid here: lr"),
        ("nothing.like.it", f"valid here: {', '.join(KEYS)}"),
    ],
)
def test_an_unknown_key_is_answered_with_near_ones(key: str, advice: str) -> None:
    assert nearest(key, KEYS) == advice
