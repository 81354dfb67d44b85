from __future__ import annotations

import pytest
import typer

from titans_lab.cli.arguments import duration


def test_an_option_is_a_duration():
    assert duration("1h30m") == 5400
    with pytest.raises(typer.BadParameter, match="30 has no unit; write 30s, 30m or 30h"):
        duration("30")
