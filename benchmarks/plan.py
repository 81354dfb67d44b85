"""Time `titans-lab plan`, process start included, with an empty store and with one of as many other runs.

    python benchmarks/plan.py --runs 10000

Medians of three, with the range, in seconds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from titans_lab.environment import environment
from titans_lab.executors.devices import cores
from titans_lab.run.config import RunConfig
from titans_lab.run.run import record_of
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.study.study import load_study

STUDY = """\
question: How long does a plan take?
base: {{train: {{tokens: 1_000_000, beta1: {beta}}}}}
grid:
  model.memory.depth: [1, 2, 3, 4]
  train.lr: {{logspace: [1e-4, 1e-2, {rates}]}}
seeds: 5
"""


def remember(study: Path, store: Store) -> None:
    """Record the runs of a study as done."""
    env = environment() | {"device": "cpu", "device_name": cores()[0].hardware, "threads": 1, "kernel": "auto"}
    figures = {"loss": 2.0, "wall_seconds": 60.0, "peak_memory_bytes": 10**9}
    for run in load_study(study).runs(RunConfig.data_digest):
        folder = store.run(run.run_id)
        folder.create(record_of(run, "synthetic"))
        Recorder(folder.new_attempt(), env).commit("done", {**figures, "steps": run.config.train.steps})


def timed(arguments: list[str]) -> str:
    """Return the time of three runs of the command, in words."""
    seconds = []
    for _ in range(3):
        begin = perf_counter()
        subprocess.run([sys.executable, "-m", "titans_lab", *arguments], check=True, capture_output=True)
        seconds.append(perf_counter() - begin)
    return f"{median(seconds):.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})"


def main() -> None:
    """Write two studies that share no run, and plan one in a store with the runs of the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="a multiple of 20")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ours, others = folder / "ours.yaml", folder / "others.yaml"
        for path, beta in ((ours, 0.9), (others, 0.8)):
            path.write_text(STUDY.format(beta=beta, rates=given.runs // 20))
        store = Store(folder / "store")
        command = ["plan", str(ours), "--store", str(store.root)]
        print(f"plan of {given.runs} runs, no store      {timed(command)}")
        print(f"the same as JSON               {timed([*command, '--json'])}")
        remember(others, store)
        print(f"beside {given.runs} finished runs       {timed(command)}")


if __name__ == "__main__":
    main()
