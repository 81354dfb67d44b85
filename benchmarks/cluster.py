"""Time sweeps of runs without work on a real Slurm or Ray, and kill their coordinator again and again.

    python benchmarks/cluster.py --on slurm         # starts a Slurm of two nodes: as root, with Debian's packages
    python benchmarks/cluster.py --on ray           # starts a Ray of two cores: with the extra `ray`
    python benchmarks/cluster.py --on slurm --runs 40 --kills 10

A run without work takes one step of 64 tokens. With `--kills`, the coordinator is killed so many times, each time after
another run has ended, and started again; then every run has to have one result.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))

from ray_cluster import ray_cluster
from slurm import Slurm
from workbench import Workbench

from titans_lab.store.folder import RunFolder

NO_WORK = ("train.tokens=64", "log.weights=false")


@contextmanager
def engine(name: str) -> Iterator[dict[str, str]]:
    """Start an engine, and yield the environment that names it."""
    if name == "ray":
        with ray_cluster() as environment:
            yield environment
        return
    with tempfile.TemporaryDirectory(prefix="titans-lab-slurm-") as folder:
        slurm = Slurm(Path(folder))
        try:
            slurm.start()
            yield {"SLURM_CONF": str(slurm.config)}
        finally:
            slurm.stop()


def sweep(bench: Workbench, environment: dict[str, str], command: list[str], kills: int) -> int:
    """Run a sweep to its end, and return how often its coordinator was killed."""
    killed = 0
    while killed < kills:
        before = done(bench)
        with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL) as coordinator:
            while coordinator.poll() is None and done(bench) <= before:
                time.sleep(0.02)
            ended = coordinator.poll() is not None
            coordinator.kill()
        if ended:
            return killed
        killed += 1
    subprocess.run(command, env=os.environ | environment, stderr=subprocess.DEVNULL, check=True)
    return killed


def done(bench: Workbench) -> int:
    return len(list((bench.store.root / "runs").glob("*/status.json")))


def results(folder: RunFolder) -> int:
    """Return how many attempts at a run have committed a result."""
    statuses = [folder.attempt(int(path.name)).status() for path in folder.attempts()]
    return sum(status is not None and status.state == "done" for status in statuses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", choices=("slurm", "ray"), default="slurm")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder, ExitStack() as stack:
        os.environ["XDG_RUNTIME_DIR"] = folder  # device slots that no other sweep uses
        environment = stack.enter_context(engine(given.on))
        bench = Workbench.at(Path(folder))
        words = [*NO_WORK, f"seeds={given.runs}"]
        command = bench.command("sweep", *words, "--on", given.on, "--set", f"workers={given.workers}")
        begun = time.monotonic()
        killed = sweep(bench, environment, command, given.kills)
        seconds = time.monotonic() - begun
        folders = bench.folders(*words)
        states = Counter(each.state() for each in folders)
        once = sum(results(each) == 1 for each in folders)
        attempts = [each.latest() for each in folders]
        jobs = {each.env().get("job") for each in attempts if each}
        print(f"{given.on}: {given.runs} runs, {len(jobs)} jobs, {killed} kills: {seconds:.1f} s")
        print(f"{dict(states)}; {once} of them with one result")


if __name__ == "__main__":
    main()
