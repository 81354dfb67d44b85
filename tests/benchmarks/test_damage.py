"""A few of the records that `benchmarks/damage.py` damages in large, in a few ways."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DAMAGE = Path(__file__).parents[2] / "benchmarks" / "damage.py"


@pytest.mark.parametrize(
    ("store", "record"), [("plain", "runs/*/attempts/1/status.json"), ("compacted", "compact/manifest.json")]
)
def test_what_is_damaged_is_named_and_nothing_else_comes_out_otherwise(store: str, record: str):
    ways = ("--stride", "2000", "--kinds", "flip", "folder", "--stores", store, "--files", record)
    ended = subprocess.run([sys.executable, str(DAMAGE), *ways], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1].endswith(": 0 wrong")
