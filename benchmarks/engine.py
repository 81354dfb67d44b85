"""Time the tool itself: `--help`, `plan`, `query` and `status`, in fresh processes, over finished runs.

    python benchmarks/engine.py --runs 1000 --lines 100

Medians of five, with the range, in seconds. With --sweep, also the cost of a run that takes almost no time (a step of a
small model, its evaluation, its records) without the start of the workers: a sweep of many runs less one of two.

    python benchmarks/engine.py --runs 0 --sweep 200
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
from titans_lab.run.config import RunConfig
from titans_lab.run.run import Run, record_of
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.study.study import load_study

STUDY = """\
question: How long does the tool itself take?
base:
  train: {{tokens: 1_000_000}}
grid:
  model.memory.depth: [1, 2, 3, 4]
  train.lr: {rates}
seeds: 5
"""
SQL = {
    "runs": "select model.memory.depth, avg(loss) from runs group by all",
    "metrics": "select run_id, min(loss), count(*) from metrics group by all order by 2 limit 5",
}


def write_study(folder: Path, runs: int) -> Path:
    """Return a study of so many runs, a multiple of 20."""
    path = folder / "engine.yaml"
    path.write_text(STUDY.format(rates=[1e-3 + 1e-5 * i for i in range(runs // 20)]))
    return path


def finish(run: Run, store: Store, lines: int, env: dict[str, object]) -> None:
    """Record a run as a worker would."""
    folder = store.run(run.run_id)
    folder.create(record_of(run, "synthetic"))
    recorder = Recorder(folder.new_attempt(), env)
    recorder.add("metrics", [row(step) for step in range(1, lines + 1)])
    recorder.commit("done", {"loss": 2 + run.seed / 100, "tokens": 1024 * lines, "steps": lines})


def row(step: int) -> dict[str, float | None]:
    """Return a line of metrics."""
    return {
        "step": step, "tokens": 1024 * step, "loss": 2 + 3 / step, "valid_loss": None, "lr": 1e-3, "grad_norm": 0.5,
        "tokens_per_second": 5e3, "step_seconds": 0.2, "elapsed_seconds": 0.2 * step, "peak_memory_bytes": 10**9,
    }  # fmt: skip


SMALL = """\
question: What does a run cost that takes no time?
base:
  model: {{variant: lmm, dim: 16, n_layers: 1, n_heads: 2, persistent_tokens: 2, memory: {{depth: 1, chunk_size: 8}}}}
  train: {{tokens: 64, seq_len: 32, batch_size: 2}}
  data: {{path: "{text}", valid_fraction: 0.1}}
seeds: {runs}
"""


def sweep_seconds(folder: Path, runs: int) -> float:
    """Return the seconds of a sweep of `runs` small runs by two workers, into a new store."""
    text, study = folder / "text.txt", folder / f"small{runs}.yaml"
    text.write_bytes(b"the memory learns at test time. " * 100)
    study.write_text(SMALL.format(text=text, runs=runs))
    command = [str(Path(sys.executable).with_name("titans-lab")), "sweep", str(study), "--no-verify"]
    begin = perf_counter()
    subprocess.run(
        [*command, "--max-parallel", "2", "--store", str(folder / f"sweep{runs}")], check=True, capture_output=True
    )
    return perf_counter() - begin


def time_sweep(folder: Path, runs: int) -> None:
    """Print what each run costs."""
    two, many = sweep_seconds(folder, 2), sweep_seconds(folder, runs)
    print(f"sweep of 2 runs {two:.2f} s, of {runs} runs {many:.2f} s: {(many - two) / (runs - 2):.3f} s a run")


def timed(arguments: list[str], rounds: int = 5) -> list[float]:
    """Return the seconds of each of some runs of the command."""
    command = [sys.executable, "-m", "titans_lab", *arguments]
    seconds = []
    for _ in range(rounds):
        begin = perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(perf_counter() - begin)
    return seconds


def main() -> None:
    """Make the store, time the commands, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="a multiple of 20")
    parser.add_argument("--lines", type=int, default=100, help="log lines of each run")
    parser.add_argument("--sweep", type=int, default=200, help="runs of the sweep; 0: none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if given.sweep:
            time_sweep(folder, given.sweep)
        if not given.runs:
            return
        study, store = write_study(folder, given.runs), Store(folder / "store")
        runs, env = load_study(study).runs(RunConfig.data_digest), environment()
        for run in runs:
            finish(run, store, given.lines, env)
        at = ["--store", str(store.root)]
        commands = {"--help": ["--help"], f"plan of {len(runs)} runs": ["plan", str(study), *at]}
        commands |= {f"query {view} of {len(runs)} runs": ["query", sql, *at] for view, sql in SQL.items()}
        commands |= {"status": ["status", str(study), *at]}
        for name, arguments in commands.items():
            seconds = timed(arguments)
            print(f"{name:28} {median(seconds):.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})")


if __name__ == "__main__":
    main()
