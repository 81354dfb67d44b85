"""Measure the time and the size of a report on many runs, with their limits.

    python benchmarks/report.py [RUNS...]        # 100 and 1000

Writes a study of 4 seeds to a temporary store through the writers that workers use, with metrics every 25 of 5,000
steps, and reports on it in a process of its own, as the command does. Seconds are those of the whole process, by the
clock and of CPU.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from titans_lab.run.run import Run, record_of
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.study.study import load_study

LIMITS = {100: (6.0, 6.0), 1000: (20.0, 10.0)}  # runs: seconds, MB
SEEDS, STEPS, EVERY = 4, 5000, 25
DATA_HASH = "5e" * 32
ENV = {"host": "bench", "device": "cpu", "device_name": "AMD EPYC", "python": "3.11", "torch": "2.13.0", "commit": "0"}


def main() -> None:
    """Measure a report for each number of runs."""
    print("runs  seconds  of  CPU  MB  of")
    for runs in map(int, sys.argv[1:] or map(str, LIMITS)):
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), runs)
            seconds, busy, size = measure(Path(folder))
        most_seconds, most_size = LIMITS.get(runs, (float("nan"), float("nan")))
        print(f"{runs}  {seconds:.1f}  {most_seconds:g}  {busy:.1f}  {size:.2f}  {most_size:g}", flush=True)


def fill(folder: Path, count: int) -> None:
    """Write a study of `count` finished runs into the store `results` below the folder."""
    path, arms = folder / "many.yaml", count // SEEDS
    rates = [round(1e-3 + 1e-5 * index, 8) for index in range(arms // 4)]
    grid = {"model.memory.depth": [1, 2, 3, 4], "train.lr": rates}
    path.write_text(json.dumps({"question": "Which?", "grid": grid, "seeds": list(range(SEEDS))}))
    study, store = load_study(path), Store(folder / "results")
    runs = study.runs(lambda _: DATA_HASH)
    for run in runs:
        record(run, store)
    store.save_study(study.record(runs))


def record(run: Run, store: Store) -> None:
    """Record a run with its own loss curve."""
    draw = random.Random(run.run_id)
    folder = store.run(run.run_id)
    folder.create(record_of(run, "text"))
    recorder = Recorder(folder.new_attempt(), ENV)
    end = 2 + 0.1 * draw.random()
    losses = [end + 3 / (1 + step / 100) + 0.02 * draw.random() for step in range(EVERY, STEPS + 1, EVERY)]
    recorder.add(
        "metrics",
        (
            {"step": step, "tokens": 1024 * step, "loss": loss, "tokens_per_second": 9e3, "elapsed_seconds": step / 9}
            for step, loss in zip(range(EVERY, STEPS + 1, EVERY), losses, strict=True)
        ),
    )
    figures = {"loss": losses[-1], "tokens": 1024 * STEPS, "steps": STEPS, "wall_seconds": STEPS / 9}
    recorder.commit("done", figures | {"tokens_per_second": 9e3, "peak_memory_bytes": 2**28})


def measure(folder: Path) -> tuple[float, float, float]:
    """Return the seconds, the CPU seconds and the MB of the report on the store."""
    output = folder / "report.html"
    code = (
        "from pathlib import Path; from titans_lab.report import page, store_report, write\n"
        f"write(page(store_report(Path({str(folder / 'results')!r}))), Path({str(output)!r}))"
    )
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, busy, output.stat().st_size / 1e6


if __name__ == "__main__":
    main()
