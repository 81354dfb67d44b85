"""Time the training of a study with this version's kernels, relative to torch's own operations.

    python benchmarks/sweep.py studies/quickstart.yaml [train.tokens=20000 ...] [--rounds 1] [--parallel 2]

Sweeps of the same study file with `speed.kernel=auto` and `speed.kernel=torch` take turns, each in a fresh store and
without verification. Printed are the seconds from start to end, the seconds of all runs together, and torch's over
ours: medians and ranges.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from kernels import spread

from titans_lab.store.query import query


def sweep(study: str, overrides: list[str], kernel: str, parallel: int) -> tuple[float, float]:
    """Return the seconds of a sweep into a fresh store, and those of its runs together."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "titans_lab", "sweep", study, *overrides, f"speed.kernel={kernel}"]
        begin = perf_counter()
        subprocess.run(
            [*command, "--no-verify", "--max-parallel", str(parallel), "--store", store],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        taken = perf_counter() - begin
        answer = query(Path(store), "select sum(wall_seconds) as seconds from runs where state = 'done'")
        return taken, answer.to_pylist()[0]["seconds"]


def main() -> None:
    """Run the measurements that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=2)
    given = parser.parse_args()
    turns = [
        [sweep(given.study, given.overrides, kernel, given.parallel) for kernel in ("auto", "torch")]
        for _ in range(given.rounds)
    ]
    for place, what in enumerate(("start to end", "all runs")):
        ours, torch_s = ([turn[kernel][place] for turn in turns] for kernel in (0, 1))
        ratios = [b / a for a, b in zip(ours, torch_s, strict=True)]
        print(f"{what:12}  auto {spread(ours)} s   torch {spread(torch_s)} s   times as fast {spread(ratios)}")


if __name__ == "__main__":
    main()
