"""Run a worker, which takes one attempt after another: `python -m titans_lab.training.serve STORE --device cpu`.

The worker reads the folder of an attempt, below the store, as a line from standard input, which is open as long as the
coordinator lives. It writes a line when the attempt has ended and it can take another. So small runs share the start of
Python and the import of torch. After a long or a failed run the process ends, and the next run gets a new one.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from titans_lab.store.folder import Attempt
from titans_lab.training.ending import Ending, leave

SMALL_SECONDS = 20.0  # a longer run ends its process, whose start costs little in comparison
RESET_PEAK = "5"  # written to /proc/self/clear_refs: resets the peak memory to the current memory


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 0 if the last attempt ended with a result or as requested, else 1."""
    parser = argparse.ArgumentParser(prog="python -m titans_lab.training.serve", description="Train runs as they come.")
    parser.add_argument("store", type=Path, help="folder of the store")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--nodes", nargs="+", default=[], help="for each device on another machine, that machine")
    given, answers = parser.parse_args(arguments), os.dup(1)
    paths: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_follow_stdin, args=(paths,), daemon=True).start()
    while path := paths.get():
        begun = time.monotonic()
        if not _attend(Attempt(given.store / path), given.device, given.nodes):
            return 1
        if time.monotonic() - begun > SMALL_SECONDS or not forget(given.device):
            return 0
        os.write(answers, b"next\n")
    return 0


def _attend(attempt: Attempt, device: str, nodes: Sequence[str]) -> bool:
    """Execute an attempt, and return whether it ended with a result and this process may take another."""
    _log_to(attempt.log_path)
    with attempt.claim.kept():  # before anything that takes long
        import torch

        from titans_lab.plugins.loading import load_inherited
        from titans_lab.training.worker import attend

        torch.set_flush_denormal(True)  # forgetting makes denormals, with which a CPU has a fifth of its speed
        load_inherited()
        ending = Ending()
        ending.listen()
        try:
            return attend(attempt, torch.device(device), ending, nodes) == 0 and not ending.asked
        finally:
            ending.ignore()


def _log_to(path: Path) -> None:
    """Redirect everything that any library prints to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def forget(device: str) -> bool:
    """Free the memory of an attempt and reset the peak memory. Return whether the system supports that."""
    import torch

    gc.collect()
    gc.freeze()  # only modules are left, and scanning torch's every time takes longer than a small run
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return True
    with suppress(AttributeError):  # glibc keeps freed blocks, which would count in the next run's peak
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _follow_stdin(paths: queue.SimpleQueue[str | None]) -> None:
    """Put each line of standard input into the queue, and None when it closes because the coordinator has ended."""
    rest = b""
    while piece := os.read(0, 65536):  # not sys.stdin: the interpreter aborts if a thread still reads from it
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            paths.put(os.fsdecode(line))
    paths.put(None)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    leave(main())
