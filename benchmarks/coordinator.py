"""Measure the memory and the open files of the coordinator of a sweep of many tiny runs, from the first to the last.

    python benchmarks/coordinator.py --runs 300

The sweep is the command itself with its real workers, over runs of four steps. A line for each sample: finished runs,
resident memory (MB) and open file descriptors of the coordinator alone. The summary that follows the last run reads the
store by SQL and is not part of this.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

STUDY = """\
question: What does the coordinator hold?
base:
  model: {{variant: lmm, dim: 16, n_layers: 1, n_heads: 2, persistent_tokens: 2, memory: {{depth: 1, chunk_size: 8}}}}
  train: {{tokens: 256, seq_len: 32, batch_size: 2}}
  data: {{path: "{text}", valid_fraction: 0.1}}
seeds: {runs}
"""
TEXT = b"the memory learns at test time, and forgets what it need not keep. " * 60
POLL_SECONDS = 0.1


class Sample(NamedTuple):
    """The resources of a process at a moment.

    Attributes:
        finished: The number of runs with a result.
        memory: The resident memory in MB.
        files: The number of open file descriptors.
    """

    finished: int
    memory: float
    files: int


def start(folder: Path, runs: int) -> subprocess.Popen[bytes]:
    """Start a sweep of so many runs in an empty folder, on cores of its own."""
    text, study = folder / "text.txt", folder / "many.yaml"
    text.write_bytes(TEXT)
    study.write_text(STUDY.format(text=text, runs=runs))
    command = [sys.executable, "-m", "titans_lab", "sweep", str(study), "--no-verify", "--store", str(folder / "store")]
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "XDG_RUNTIME_DIR": str(folder)}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sample(pid: int, store: Path) -> Sample:
    """Return the resources of a running process on Linux. Raise OSError where it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    [resident] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(len(list(store.glob("runs/*/status.json"))), int(resident) / 1000, files)


def samples(process: subprocess.Popen[bytes], store: Path, runs: int, every: int) -> list[Sample]:
    """Return a sample at the first finished run, after each `every` more, and at the last one."""
    found: list[Sample] = []
    while process.poll() is None and (not found or found[-1].finished < runs):
        now = sample(process.pid, store)
        if now.finished and (not found or now.finished >= min(found[-1].finished + every, runs)):
            found.append(now)
            print(f"{now.finished:8} {now.memory:8.1f} {now.files:6}", flush=True)
        time.sleep(POLL_SECONDS)
    return found


def main() -> int:
    """Print the samples; exit code 0 where the sweep finished every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--every", type=int, default=25, help="finished runs from one line to the next")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coordinator-") as temporary:
        folder, begin = Path(temporary), time.monotonic()
        process = start(folder, given.runs)
        print(f"{'finished':>8} {'MB':>8} {'files':>6}", flush=True)
        found = samples(process, folder / "store", given.runs, given.every)
        code = process.wait()
        finished = len(list(folder.glob("store/runs/*/status.json")))
    first, last = found[0], found[-1]
    print(
        f"{finished} of {given.runs} runs in {time.monotonic() - begin:.0f} s, exit code {code}: "
        f"{first.memory:.1f} MB and {first.files} files after {first.finished}, "
        f"{last.memory:.1f} MB and {last.files} files after {last.finished}"
    )
    return code or int(finished != given.runs)


if __name__ == "__main__":
    sys.exit(main())
