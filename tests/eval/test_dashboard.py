"""A search in the real optuna-dashboard."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from extras import extra
from workbench import MINUTES, Workbench

extra("optuna_dashboard")


def answer(address: str, host: str | None = None) -> Any:
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=60) as found:
        return json.load(found)


def test_the_trials_of_a_store_are_shown_until_ctrl_c(tmp_path: Path) -> None:
    bench = Workbench.at(tmp_path)
    search = "search:\n  space: {train.lr: {float: [1e-3, 1e-2]}}\n  trials: 2\n"
    bench.study.write_text(bench.study.read_text() + search)
    done = bench.call("tune", "--no-verify", "--dashboard")
    assert (done.returncode, "dashboard: http://127.0.0.1:" in done.stderr) == (0, True), done.stderr
    process = bench.start("tune", "--no-run", "--dashboard")
    assert process.stderr is not None
    address = next(line for line in process.stderr if line.startswith("dashboard: ")).split()[1]
    [study] = answer(f"{address}api/studies")["study_summaries"]
    found = answer(f"{address}api/studies/{study['study_id']}")
    assert [trial["state"] for trial in found["trials"]] == ["Complete"] * 2
    with pytest.raises(urllib.error.HTTPError, match="403"):
        answer(f"{address}api/studies", host="evil.example")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=MINUTES)
    assert process.returncode == 0
