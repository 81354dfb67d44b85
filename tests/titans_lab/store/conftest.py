"""Stores of real files, written by the real recorder."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from titans.models.config import MemoryConfig, ModelConfig
from titans_lab.run.config import LogConfig, RunConfig, TrainConfig, plain
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store

ENV = {
    "host": "laptop",
    "device": "cpu",
    "device_name": "a core",
    "python": "3.11.7",
    "torch": "2.13.0",
    "commit": "c0",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    root = tmp_path / "results"
    root.mkdir()
    return Store(root)


@pytest.fixture
def new_run(store: Store) -> Callable[..., RunFolder]:
    """Makes the folder of a run that has not begun: new_run("a1", seed=0, depth=2)."""

    def make(run_id: str, seed: int = 0, depth: int = 2) -> RunFolder:
        folder = store.run(run_id)
        folder.create(record(run_id, seed, depth))
        return folder

    return make


@pytest.fixture
def live_run(new_run: Callable[..., RunFolder]) -> Callable[..., Attempt]:
    """Makes a run that has begun and logged: live_run("a1", steps=3, memory=0, seed=0, depth=2)."""

    def make(run_id: str, steps: int = 3, memory: int = 0, **what: Any) -> Attempt:
        attempt = new_run(run_id, **what).new_attempt()
        recorder = Recorder(attempt, ENV)
        for step in range(1, steps + 1):
            recorder.log(**metrics(step))
        if memory:
            recorder.add("memory", [figures(step) for step in range(1, memory + 1)])
        return attempt

    return make


@pytest.fixture
def ended_run(live_run: Callable[..., Attempt]) -> Callable[..., RunFolder]:
    """Makes a run that was committed: ended_run("a1", state="done", loss=2.0, error=None, steps=3, ...)."""

    def make(run_id: str, state: str = "done", loss: float = 2.0, error: str | None = None, **what: Any) -> RunFolder:
        attempt = live_run(run_id, **what)
        Recorder(attempt, ENV).commit(state, {"loss": loss, "tokens": 4096, "steps": 3, "wall_seconds": 1.5}, error)
        return attempt.folder

    return make


def record(run_id: str, seed: int, depth: int) -> dict[str, Any]:
    config = RunConfig(
        model=ModelConfig(variant="mac", dim=128, n_layers=2, n_heads=4, memory=MemoryConfig(depth=depth)),
        train=TrainConfig(lr=3e-3),
        log=LogConfig(every=10),
    )
    return {
        "run_id": run_id,
        "seed": seed,
        "data_hash": "d" * 64,
        "data_source": "a text",
        "config": plain(config),
        "versions": {"model": 1},
        "parameters": 1000,
        "flops_per_token": 6000,
        "state_bytes": 64,
    }


def metrics(step: int) -> dict[str, Any]:
    return {"step": step, "tokens": 4096 * step, "loss": 8.0 / step, "lr": 1e-3, "peak_memory_bytes": 10**6}


def figures(step: int) -> dict[str, Any]:
    return {"step": step, "block": 0, "layer": 1, "head": 2, "theta": 0.5 / step, "staleness": math.inf}
