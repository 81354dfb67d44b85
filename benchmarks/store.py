"""Time queries on a large store, before and after compaction, each in a fresh process.

    python benchmarks/store.py --runs 10000 --lines 100

Medians, with the range, in seconds. The store is made by the functions that workers write with, without waiting for
the disk, in a temporary folder or at --keep FOLDER, where a later call finds it again.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import nullcontext
from pathlib import Path
from statistics import median

from engine import finish, timed, write_study

from titans_lab.environment import environment
from titans_lab.run.config import RunConfig
from titans_lab.store.compaction import compact, remove
from titans_lab.store.store import Store
from titans_lab.study.study import load_study

QUERIES = {
    "query runs": "select model.memory.depth, train.lr, avg(loss), stddev(loss) from runs group by all limit 9",
    "query metrics": "select run_id, min(loss), max(step) from metrics group by all order by 2 limit 9",
    "query both": "select model.memory.depth, step, avg(m.loss) from runs join metrics m using (run_id) group by all",
    "query failures": "select state, count(*) from failures group by all",
}


def fill(folder: Path, runs: int, lines: int) -> Store:
    """Return a store of so many finished runs, of one study."""
    study, store, env = load_study(write_study(folder, runs)), Store(folder / "store"), environment()
    planned = study.runs(RunConfig.data_digest)
    wait, os.fsync = os.fsync, lambda _: None
    for run in planned:
        finish(run, store, lines, env)
    store.save_study(study.record(planned))
    os.fsync = wait
    return store


def measure(store: Store, rounds: int, when: str) -> None:
    """Time the commands, and print a line each."""
    commands = {name: ["query", sql] for name, sql in QUERIES.items()}
    commands |= {"status": ["status"], "list the runs": ["status", "--state", "done", "--json"]}
    for name, arguments in commands.items():
        seconds = timed([*arguments, "--store", str(store.root)], rounds)
        print(f"{when:7} {name:15} {median(seconds):.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})", flush=True)


def main() -> None:
    """Make the store, or find it; time it as it is and compacted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="a multiple of 20")
    parser.add_argument("--lines", type=int, default=100, help="log lines of each run")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each command")
    parser.add_argument("--keep", type=Path, help="where to make the store, or where it is")
    given = parser.parse_args()
    with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        store = Store(root / "store") if (root / "store").exists() else fill(root, given.runs, given.lines)
        remove(store)
        measure(store, given.rounds, "before")
        compact(store)
        measure(store, given.rounds, "after")


if __name__ == "__main__":
    main()
