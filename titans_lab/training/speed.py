"""Measure the peak memory and the profile of a run, and the speed of its device."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from titans_lab.run.config import PROFILE_AFTER

SIZES = {"cpu": 512, "cuda": 4096}  # sizes of square matrices whose product reaches a device's full speed
ROUNDS = 5
STATUS = Path("/proc/self/status")


def factor(device: torch.device, precision: str) -> torch.Tensor:
    """Return a square matrix `[size, size]` to multiply with itself: float32 on a CPU, where bfloat16 is no faster."""
    size = SIZES[device.type]
    dtype = torch.bfloat16 if precision == "bfloat16" and device.type == "cuda" else torch.float32
    return torch.randn(size, size, device=device, dtype=dtype)


@cache
def product_rate(device: torch.device, precision: str) -> float:
    """Return the FLOP/s of a plain square matrix product: the best of a few, because other programs only slow it down.

    It is measured once per process, because a worker of small runs would spend its time on this.
    """
    a = factor(device, precision)
    rate = 2 * len(a) ** 3 / min(_seconds(a) for _ in range(ROUNDS))
    if a.is_cuda:
        torch.cuda.reset_peak_memory_stats(device)  # so that the peak is the run's alone
    return rate


def _seconds(a: torch.Tensor) -> float:
    if a.is_cuda:
        torch.cuda.synchronize(a.device)
    begin = perf_counter()
    (a @ a)[0, 0].item()  # waits for the device
    return perf_counter() - begin


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory of the present run so far, in bytes.

    On a GPU this is the memory of tensors. On a CPU it is the resident memory of the worker, which includes Python,
    torch and the data. `titans_lab.training.serve` resets it before each run.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.exists():  # getrusage does not do: its peak includes that of the process that started the worker
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def profiled(steps: int, folder: Path) -> Iterator[Callable[[], None]]:
    """Profile `steps` steps, and yield the function to call after every step.

    Two files are written to `folder`: trace.json.gz, which chrome://tracing and Perfetto open, and profile.txt, a table
    by operation. With 0 steps nothing is written.
    """
    if not steps:
        yield lambda: None
        return

    def save(done: profile) -> None:
        done.export_chrome_trace(str(folder / "trace.json.gz"))
        on = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        (folder / "profile.txt").write_text(done.key_averages().table(sort_by=on, row_limit=40))

    watched = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    when = schedule(wait=PROFILE_AFTER - 1, warmup=1, active=steps, repeat=1)
    with profile(activities=watched, schedule=when, on_trace_ready=save) as running:
        yield running.step
