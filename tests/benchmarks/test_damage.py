"""A few of the records that `benchmarks/damage.py` damages in large, in a few ways."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DAMAGE = Path(__file__).parents[2] / "benchmarks" / "damage.py"


def damage(*ways: str) -> str:
    """Damage a store in these ways, and return the line of totals."""
    command = [sys.executable, str(DAMAGE), "--stride", "2000", *ways]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("store", "record"), [("plain", "runs/*/attempts/1/status.json"), ("compacted", "compact/manifest.json")]
)
def test_damage_is_named_and_everything_else_is_shown_as_before(store: str, record: str):
    ways = ("--kinds", "flip", "folder", "pipe", "--stores", store, "--files", record, "--scenes")
    assert damage(*ways).endswith(": 0 wrong")


@pytest.mark.parametrize("record", ["studies/swept.json", "searches/*/search.json"])
def test_a_forgery_is_named_and_nothing_outside_the_store_is_touched(record: str):
    ways = ("--kinds", "type", "name", "foreign", "later", "--stores", "plain", "--files", record, "--scenes")
    assert damage(*ways).endswith(": 0 wrong")


def test_changed_data_are_planned_as_nothing_that_they_were():
    assert damage("--files", "none", "--stores", "plain", "--scenes", "data").endswith(": 0 wrong")
