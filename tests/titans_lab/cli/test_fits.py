"""fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workbench import Workbench

from titans_lab.run.run import record_of
from titans_lab.store.recorder import Recorder

BUDGETS = "grid.train.tokens=[1000, 2000, 4000, 8000, 16000, 32000]"


@pytest.fixture
def scaled(bench: Workbench) -> Workbench:
    """Six budgets, with losses 1 + 20 / tokens^0.4."""
    for run in bench.runs(BUDGETS):
        tokens = run.config.train.tokens
        folder = bench.store.run(run.run_id)
        folder.create(record_of(run, "synthetic"))
        Recorder(folder.new_attempt(), {}).commit("done", {"loss": 1 + 20 / tokens**0.4, "tokens": tokens}, None)
    return bench


def test_the_law_is_printed_with_its_checks(cli: Any, scaled: Workbench):
    code, out, err = cli("fit", scaled.study, BUDGETS, "--store", scaled.store.root)
    assert (code, err) == (0, "")
    assert out.startswith("loss = E + A / tokens^alpha, 6 runs\n")
    assert "alpha       0.4   0.4  0.4" in out
    assert "Largest budget, held out (1 run): predicted" in out
    assert "parameters include the embedding" in out


def test_a_program_gets_it_as_json(cli: Any, scaled: Workbench):
    out = cli("fit", scaled.study, BUDGETS, "--against", "flops", "--json", "--store", scaled.store.root).out
    (law,) = json.loads(out)
    assert law["variables"] == ["flops"]
    assert law["coefficients"]["E"]["value"] == pytest.approx(1, rel=1e-3)
    assert np.isfinite(law["held_out"]["error"])
    assert law["isoflop"] is None


def test_too_few_runs_are_refused(cli: Any, bench: Workbench, tmp_path: Path):
    bench.store.root.mkdir()
    code, out, err = cli("fit", bench.study, "--store", bench.store.root)
    assert (code, out) == (2, "")
    assert "0 distinct values of parameters: a fit needs 4 (runs: 1 pending)" in err
