"""Searches whose runs take no time; asking, telling, records and workers' commits are the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from instant import Curve, InstantExecutor
from searches import HEAD, RATE, Searching, falling

from titans_lab.executors.devices import cores
from titans_lab.search.coordinator import Coordinator, tunings
from titans_lab.store.store import Store
from titans_lab.study.study import load_study


@pytest.fixture(autouse=True)
def _no_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_SECONDS", "SHORT_SECONDS"):
        monkeypatch.setattr(f"titans_lab.sweep.{name}", 0.0)


@pytest.fixture
def searching(tmp_path: Path) -> Searching:
    """searching("  trials: 4\\n", space=..., head=..., curve=...): a search, not yet begun, over the same store."""

    def make(
        block: str = "", space: str = RATE, head: str = HEAD, curve: Curve = falling, workers: int = 2
    ) -> Coordinator:
        path = tmp_path / "s.yaml"
        path.write_text(f"{head}search:\n  space:\n{space}{block}")
        study, store = load_study(path), Store(tmp_path / "results")
        found = tunings(study, store, lambda config: "0" * 64)
        devices = [core for core in cores()[:1] for _ in range(workers)]
        devices = [type(core)(core.kind, str(at), core.name, core.hardware) for at, core in enumerate(devices)]
        return Coordinator(study, found, store, InstantExecutor(curve), devices)

    return make
