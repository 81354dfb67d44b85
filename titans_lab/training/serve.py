"""A worker that goes from attempt to attempt: `python -m titans_lab.training.serve STORE --device cpu`.

The folder of an attempt, below the store, comes as a line on standard input, which is open as long as the coordinator
lives, and a line goes out when the attempt has ended and another one may come. So small runs share the start of Python
and the import of torch. Where one took long, or failed, the process ends, and the next run gets a new one.
"""

from __future__ import annotations

import argparse
import gc
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path

from titans_lab.store.folder import Attempt
from titans_lab.training.ending import Ending, leave

SMALL_SECONDS = 20.0  # a start costs little beside what takes longer
RESET_PEAK = "5"  # to /proc/self/clear_refs: the most memory that was held is what is held now


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 where the last attempt ended as it was meant to, 1 where it did not."""
    parser = argparse.ArgumentParser(prog="python -m titans_lab.training.serve", description="Train runs as they come.")
    parser.add_argument("store", type=Path, help="folder of the store")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given, answers = parser.parse_args(arguments), os.dup(1)
    paths: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_follow_stdin, args=(paths,), daemon=True).start()
    while path := paths.get():
        begun = time.monotonic()
        if not _attend(Attempt(given.store / path), given.device):
            return 1
        if time.monotonic() - begun > SMALL_SECONDS or not forget(given.device):
            return 0
        os.write(answers, b"next\n")
    return 0


def _attend(attempt: Attempt, device: str) -> bool:
    """Whether the attempt ended in numbers, and nobody wants this process to end."""
    _log_to(attempt.log_path)
    with attempt.claim.kept():  # from here on, and then what takes its time
        import torch

        from titans_lab.plugins.loading import load_inherited
        from titans_lab.training.worker import attend

        torch.set_flush_denormal(True)  # a memory that forgets fills with them, at a fifth of the speed
        load_inherited()
        ending = Ending()
        ending.listen()
        try:
            return attend(attempt, torch.device(device), ending) == 0 and not ending.asked
        finally:
            ending.ignore()


def _log_to(path: Path) -> None:
    """All that is printed, by whatever library, goes there."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def forget(device: str) -> bool:
    """Let go of what an attempt held, also as a figure; whether that is possible here."""
    import torch

    gc.collect()
    gc.freeze()  # what is left are modules: to look through torch's every time takes longer than a small run
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return True
    try:
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _follow_stdin(paths: queue.SimpleQueue[str | None]) -> None:
    """The coordinator holds the other end: it closes however the coordinator ends."""
    rest = b""
    while piece := os.read(0, 65536):  # not sys.stdin: the interpreter aborts where a thread still reads from that
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            paths.put(os.fsdecode(line))
    paths.put(None)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    leave(main())
