"""Count what a sweep asks of a shared file system, and compute what 10,000 runs on 512 GPUs would ask.

    python benchmarks/scale.py                              # the counts and the model: docs/scale.md
    python benchmarks/scale.py --runs 10000 --gpus 512 --minutes 30
    python benchmarks/scale.py throughput --workers 40 --runs 400

The counts are system calls on paths of the store, as `strace` sees them (it has to be installed). The code is the real
one but for training, which takes no time: the claims, records, logs, commits and looks of a worker, of a coordinator
and of `status`. Each phase runs at two sizes, and its cost is the slope. `throughput` starts so many processes on one
store, each of which claims and commits such runs until none is left.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))

from instant import InstantExecutor
from workbench import Workbench

from titans_lab.executors.devices import cores
from titans_lab.launch import Launch, Options, load, prepare, record
from titans_lab.status import damage_of, study_status
from titans_lab.store.claims import BEAT_SECONDS, Holder
from titans_lab.sweep import Share

#: What a call asks of a file server. Reads and writes of open files are counted apart, as bytes are cheap here.
LOOKS = (
    "stat",
    "lstat",
    "newfstatat",
    "access",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getdents64",
    "statx",
    "openat",
    "open",
)
CHANGES = (
    "mkdir",
    "mkdirat",
    "link",
    "linkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "fsync",
    "ftruncate",
)
CALL = re.compile(r"(?:^|\s)(\w+)\((.*)")
SIZES = (20, 60)
PHASES = {
    "record": "a coordinator records a study: each run",
    "alone": "a worker of no submission begins: each run of the study",
    "join": "a worker of a submission begins: each run of the study",
    "pass": "a worker passes a run that another one holds",
    "done": "a worker passes a run that has a result",
    "run": "a worker claims, records and commits a run",
    "beat": "a worker says that it lives",
    "follow": "a look of the coordinator at a run without a result",
    "status": "`titans-lab status`: each run",
}


def phase(name: str, bench: Workbench, runs: int) -> None:
    """Do what a phase is about, so many times."""
    seeds = f"seeds={runs}"
    if name == "record":
        record(*load(bench.study, [seeds]), bench.store)
    elif name in ("alone", "join"):
        joined(bench, seeds, name == "join")
    elif name in ("pass", "done", "run"):
        sweep = joined(bench, seeds).sweep
        sweep.executor = InstantExecutor(lambda config, seed: [1.0])
        if name == "run":
            wait_for_all(bench.root)
            sweep.run(lambda _: None)
        else:
            sweep.launch()
    elif name == "follow":
        for each in bench.folders(seeds):
            each.state()
    elif name == "beat":
        claim = bench.folders(seeds)[0].attempt(1).claim
        for count in range(runs):
            claim.write(Holder.of(os.getpid()), count)
    elif name == "status":
        found = bench.runs(seeds)
        study_status(found, bench.store)
        damage_of(found, bench.store)


def wait_for_all(folder: Path) -> None:
    """Wait until every process of `throughput` has started, which takes longer than the runs."""
    go = folder / "go"
    if not (folder / "ready").is_dir():
        return
    (folder / "ready" / str(os.getpid())).touch()
    while not go.exists():
        time.sleep(0.01)


def joined(bench: Workbench, seeds: str, recorded: bool = True) -> Launch:
    """Return what a worker has before its first run."""
    return prepare(*load(bench.study, [seeds]), bench.store, cores()[:1], Options(share=Share()), recorded=recorded)


def counted(name: str, runs: int) -> collections.Counter[str]:
    """Return the number of calls of each kind in a phase, on paths of a store with so many runs."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        bench = Workbench.at(Path(folder))
        if name != "record":
            phase("record", bench, runs)
        if name == "done":
            phase("run", bench, runs)
        if name in ("pass", "beat", "follow", "status"):
            for each in bench.folders(f"seeds={runs}"):
                each.new_attempt(Holder.of(os.getpid()))  # this process lives, so they are held
        log = Path(folder) / "strace"
        command = ["strace", "-f", "-y", "-s", "300", "-o", str(log), "-e", "trace=%file,%desc"]
        subprocess.run(
            [*command, sys.executable, __file__, "phase", name, "--folder", folder, "--runs", str(runs)], check=True
        )
        return calls(log.read_text(errors="replace"), str(bench.store.root))


def calls(trace: str, root: str) -> collections.Counter[str]:
    """Return the number of calls of each kind on paths below `root`."""
    found: collections.Counter[str] = collections.Counter()
    for line in trace.splitlines():
        match = CALL.search(line)
        if match and root in match[2]:
            found["looks"] += match[1] in LOOKS
            found["changes"] += match[1] in CHANGES
            found["writes"] += match[1] in ("write", "pwrite64")
            found["reads"] += match[1] in ("read", "pread64")
    return found


def slopes(name: str) -> dict[str, float]:
    """Return the calls of each kind for one more run."""
    small, large = (counted(name, size) for size in SIZES)
    return {
        kind: (large[kind] - small[kind]) / (SIZES[1] - SIZES[0]) for kind in ("looks", "changes", "writes", "reads")
    }


def model(cost: dict[str, dict[str, float]], runs: int, gpus: int, minutes: float) -> None:
    """Print what a sweep asks each second, phase by phase."""
    meta = {name: each["looks"] + each["changes"] for name, each in cost.items()}
    hours = runs * minutes / gpus / 60
    rate = gpus / (60 * minutes)
    print(f"\n{runs:,} runs of {minutes:g} minutes on {gpus} GPUs take {hours:.1f} h. Metadata operations a second:\n")
    passing = gpus * runs * meta["done"] / (3600 * hours)
    rows = {
        "claims, records and commits": rate * meta["run"],
        "heartbeats": gpus / BEAT_SECONDS * meta["beat"],
        "workers that pass finished runs, each run once": passing,
        "workers that pass held runs, when one of them is free": rate * gpus * meta["pass"],
        "one coordinator, every 30 s, half of the runs left": runs / 2 * meta["follow"] / 30,
    }
    print("| what | operations a second |\n|---|---|")
    for words, value in rows.items():
        print(f"| {words} | {value:,.0f} |")
    for name, words in {"join": "of a submission", "alone": "of no submission"}.items():
        start = gpus * runs * meta[name]
        print(f"| all workers {words} begin within a minute | {start / 60:,.0f} |")
    print(f"\nThe study is recorded once: {runs * meta['record']:,.0f} operations")


def throughput(workers: int, runs: int) -> None:
    """Print the runs a second of many processes on one store."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        bench = Workbench.at(Path(folder))
        phase("record", bench, runs)
        command = [sys.executable, __file__, "phase", "run", "--folder", folder, "--runs", str(runs)]
        (bench.root / "ready").mkdir()
        processes = [subprocess.Popen(command) for _ in range(workers)]
        while len(list((bench.root / "ready").iterdir())) < workers:
            time.sleep(0.1)
        begun, before = time.monotonic(), idle_seconds()
        (bench.root / "go").touch()
        while not all((each.path / "status.json").exists() for each in bench.folders(f"seeds={runs}")):
            time.sleep(0.05)
        seconds, idle = time.monotonic() - begun, idle_seconds() - before
        codes = [each.wait() for each in processes]
        states = collections.Counter(each.state() for each in bench.folders(f"seeds={runs}"))
        once = sum(len(each.attempts()) == 1 for each in bench.folders(f"seeds={runs}"))
        rate = runs / seconds
        print(
            f"{workers} processes, {runs} runs: {seconds:.1f} s, {rate:.1f} runs/s; {dict(states)}, {once} tried once"
        )
        cores_idle = idle / seconds
        print(
            f"exit codes {dict(collections.Counter(codes))}; {cores_idle:.2f} of {os.cpu_count()} cores idle meanwhile"
        )


def idle_seconds() -> float:
    """Return how long the cores of this machine have been idle, all of them together."""
    return float(Path("/proc/stat").read_text().split()[4]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="model", choices=("model", "throughput", "phase"))
    parser.add_argument("name", nargs="?")
    parser.add_argument("--runs", type=int, default=None)
    parser.add_argument("--gpus", type=int, default=512)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=40)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.what == "phase":
        phase(given.name, Workbench(given.folder), given.runs)
    elif given.what == "throughput":
        throughput(given.workers, given.runs or 400)
    else:
        if not shutil.which("strace"):
            raise SystemExit("strace is not installed; apt-get install strace")
        cost = {name: slopes(name) for name in PHASES}
        print("| system calls on the store | looks | changes | writes | reads |\n|---|---|---|---|---|")
        for name, words in PHASES.items():
            print("| " + " | ".join([words, *(f"{value:.1f}" for value in cost[name].values())]) + " |")
        model(cost, given.runs or 10_000, given.gpus, given.minutes)


if __name__ == "__main__":
    main()
