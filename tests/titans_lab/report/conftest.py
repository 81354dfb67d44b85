"""A store filled by hand through the same writers that workers use."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from titans_lab.report import render
from titans_lab.report.arms import Design, arrange
from titans_lab.report.data import Material, gather
from titans_lab.report.images import BROWSERS
from titans_lab.run.config import plain
from titans_lab.run.run import Run
from titans_lab.store.columns import LOGS
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.study.study import Study, load_study

DATA_HASH = "5e" * 32
COSTS = {"parameters": 421_376, "flops_per_token": 2_600_000, "state_bytes": 65_536}
ENV = {
    "host": "bench",
    "device": "cpu",
    "device_name": "AMD EPYC 7B13",
    "python": "3.11.7",
    "torch": "2.13.0",
    "commit": "0123abc",
}
STEPS, TOKENS_A_STEP = 200, 4096


@dataclass
class Lab:
    """A study and its store."""

    study: Study
    root: Path
    runs: list[Run] = field(default_factory=list)

    def evaluate(self, run: Run, name: str, rows: list[dict[str, Any]], **about: Any) -> None:
        """What a done run was asked later."""
        Store(self.root).run(run.run_id).save_evaluation(name, {"rows": rows} | about)

    @property
    def built(self) -> tuple[Material, Design]:
        """What sections are made of."""
        material = gather(self.study, self.runs, self.root)
        return material, arrange(material.study, material.outcomes)

    def create(self, run: Run, **costs: int) -> None:
        """What the coordinator writes."""
        data = {"data_hash": DATA_HASH, "data_source": "Python 3.11.7 standard library"}
        record = {"run_id": run.run_id, "seed": run.seed, "config": plain(run.config), "versions": {}, **data}
        Store(self.root).run(run.run_id).create(record | COSTS | costs)

    def end(self, run: Run, state: str, loss: float | None = None, error: str | None = None, **more: Any) -> None:
        """A run that came to its end in `state`; `more` is rows of logs, or goes to its environment or its summary."""
        recorder = self.start(run, loss or 3.0, **{key: more.pop(key) for key in ENV.keys() & more})
        for log in LOGS.keys() & more:
            recorder.add(log, more.pop(log))
        summary = {"loss": loss, "tokens": STEPS * TOKENS_A_STEP, "steps": STEPS, "wall_seconds": 95.0}
        summary |= {"tokens_per_second": 8600.0, "peak_memory_bytes": 512 * 2**20}
        recorder.commit(state, summary | more if state in ("done", "diverged") else more, error)

    def start(
        self, run: Run, loss: float, valid_every: int = 20, costs: dict[str, int] | None = None, **env: Any
    ) -> Recorder:
        """A run that is at work, with the metrics of a smooth descent to `loss`."""
        self.create(run, **(costs or {}))
        attempt = Store(self.root).run(run.run_id).new_attempt()
        recorder = Recorder(attempt, ENV | {"started": datetime.now(UTC).isoformat()} | env)
        for step in range(5, STEPS + 1, 5):
            now = loss + 5 / (1 + step / 4)
            valid = now + 0.1 if step % valid_every == 0 else None
            count = {"step": step, "tokens": step * TOKENS_A_STEP, "elapsed_seconds": step * 0.5}
            recorder.log(**count, loss=now, valid_loss=valid, tokens_per_second=8600.0)
        return recorder

    def ngram_baselines(self, **bits: float) -> None:
        """Byte models of the split: ngram_baselines(order_0=4.7)."""
        split = {"valid_fraction": 0.05, "valid_bytes": None, "split": "test"}
        record = {"data_hash": DATA_HASH, "data_source": "text", "bits_per_byte": {k[-1]: v for k, v in bits.items()}}
        Store(self.root).save_ngram_baseline("ngram_baselines", record | split)

    def page(self) -> str:
        """The report."""
        return render(self.study, self.runs, self.root)


def make_lab(folder: Path, **study: Any) -> Lab:
    """`make_lab(folder, grid={"model.memory.depth": [1, 2]}, seeds=[0, 1])`: the study with an empty store."""
    path = folder / "depth.yaml"
    path.write_text(json.dumps({"seeds": [0, 1, 2]} | study, ensure_ascii=False), encoding="utf-8")
    root = folder / "results"
    root.mkdir()
    loaded = load_study(path)
    return Lab(loaded, root, loaded.runs(lambda data: DATA_HASH))


@pytest.fixture(scope="session")
def lab_at() -> Callable[..., Lab]:
    """`make_lab`."""
    return make_lab


@pytest.fixture
def lab(tmp_path: Path) -> Callable[..., Lab]:
    """`lab(grid={"model.memory.depth": [1, 2]}, seeds=[0, 1], question="...")`: see `make_lab`."""
    return partial(make_lab, tmp_path)


@pytest.fixture(scope="session")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"none of {', '.join(BROWSERS)} is installed; CI must look at the page")
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    return found
