"""Sweeps under a little of what `benchmarks/torture.py` does to them in large."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).parents[2] / "benchmarks" / "torture.py"
SMALL = ("--max-parallel", "1", "--tokens", "12800", "--checkpoint", "0.1", "--spread", "1", "--limit", "30")


def torture(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TORTURE), *words, *SMALL]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def may_mount(folder: Path) -> bool:
    """Whether this process may mount a file system in memory."""
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], capture_output=True).returncode:
        return False
    subprocess.run(["umount", str(folder)], check=True)
    return True


def test_runs_survive_kills_and_a_coordinator_that_stands_still_and_signals():
    ended = torture("kills", "together", "signals", "--runs", "2", "--kills", "2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [line.split(":")[0] for line in ended.stdout.splitlines()[2:]] == ["kills", "together", "signals"]


def test_a_full_disk_and_one_that_cannot_be_written(tmp_path: Path):
    if not may_mount(tmp_path):
        pytest.skip("mounting a small file system takes rights that this process does not have")
    ended = torture("disk", "readonly", "--runs", "3")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [line.split(":")[0] for line in ended.stdout.splitlines()[2:]] == ["disk", "readonly"]
