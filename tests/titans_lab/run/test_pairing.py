from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.run.run import Run, batches
from titans_lab.study.study import load_study


def run(tmp_path: Path, *overrides: str, data_hash: str = "5e") -> Run:
    (tmp_path / "study.yaml").write_text("seeds: 1")
    return load_study(tmp_path / "study.yaml", overrides).runs(lambda data: data_hash)[0]


@pytest.mark.parametrize(
    "override",
    ["model.variant=lmm", "model.dim=64", "train.lr=1e-3", "train.tokens=2000000", "data.path=a.txt", "seeds=[7]"],
)
def test_the_model_and_the_recipe_leave_the_batches_as_they_are(tmp_path: Path, override: str):
    assert batches(run(tmp_path, override)) == batches(run(tmp_path))


@pytest.mark.parametrize("override", ["train.seq_len=128", "train.batch_size=8", "data.valid_fraction=0.1"])
def test_what_decides_the_batches_tells_runs_apart(tmp_path: Path, override: str):
    assert batches(run(tmp_path, override)) != batches(run(tmp_path))
    assert batches(run(tmp_path, data_hash="6f")) != batches(run(tmp_path))
