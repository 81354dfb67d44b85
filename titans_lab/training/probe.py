"""Time five steps of a run: `python -m titans_lab.training.probe --device cpu`.

The process reads a run's record as JSON from standard input, and writes a line of JSON: the seconds of a step and the
peak memory. It writes to no store.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

import torch

from titans_lab.plugins.loading import load_inherited
from titans_lab.run.config import LogConfig, RunConfig
from titans_lab.run.run import config_of
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.tasks.task import build_task
from titans_lab.training.ending import die
from titans_lab.training.followers import RankFailed, ranks_of
from titans_lab.training.ranks import Ranks
from titans_lab.training.train import Trainer

STEPS = 5


class Enough(Exception):
    """The last step is done."""


class Stopwatch(Recorder):
    """A recorder that keeps the metrics of each step and ends the training after the last."""

    rows: list[dict[str, Any]]

    def log(self, **row: float | None) -> None:
        """Keep a line of metrics."""
        self.rows.append(row)
        if len(self.rows) >= STEPS:
            raise Enough


def measure(record: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the median seconds of a step without the first, and the peak memory in bytes."""
    config = config_of(record)
    config = replace(config, log=LogConfig(every=1), speed=replace(config.speed, profile=0))
    with tempfile.TemporaryDirectory() as folder, ranks_of(config, record, device, _end_lost) as ranks:
        rows = _steps(config, record["seed"], device, Store(Path(folder)), ranks)
    seconds = [row["step_seconds"] for row in rows]
    return {"step_seconds": median(seconds[1:] or seconds), "peak_bytes": rows[-1]["peak_memory_bytes"]}


def _end_lost(failure: RankFailed) -> NoReturn:
    print(failure, file=sys.stderr)
    die(1)


def _steps(config: RunConfig, seed: int, device: torch.device, store: Store, ranks: Ranks) -> list[dict[str, Any]]:
    folder = store.run("probe")
    folder.create({})
    watch = Stopwatch(folder.new_attempt(), {})
    watch.rows = []
    with suppress(Enough):
        Trainer(config, seed, build_task(config, seed), device, watch, ranks).run()
    return watch.rows


def main() -> None:
    """Answer the request on standard input."""
    parser = argparse.ArgumentParser(prog="python -m titans_lab.training.probe", description="Time five steps.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # as workers do
    load_inherited()
    print(json.dumps(measure(json.load(sys.stdin), torch.device(given.device))), flush=True)


if __name__ == "__main__":
    main()
