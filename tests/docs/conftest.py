from __future__ import annotations

from pathlib import Path

import pasts
import pytest
from pages import ROOT

from titans_lab.store.store import Store
from titans_lab.study.study import load_study


@pytest.fixture
def a_store(tmp_path: Path) -> Path:
    """The quickstart's runs as `./results`, recorded without being trained."""
    runs = load_study(ROOT / "studies" / "quickstart.yaml").runs(lambda _: "0" * 64)
    losses = dict.fromkeys(("loss", "score"), lambda run: 2.5 + 0.01 * run.seed)
    pasts.finish(runs, Store(tmp_path / "results"), **losses)
    return tmp_path / "results"
