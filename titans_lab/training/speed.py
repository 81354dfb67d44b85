"""How fast a run is beside what its device can do, where its time goes, and the memory that it takes."""

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

from titans_lab.study.config import PROFILE_AFTER

SIZES = {"cpu": 512, "cuda": 4096}  # of a product that a device does at its best
ROUNDS = 5


def factor(device: torch.device, precision: str) -> torch.Tensor:
    """A square matrix to multiply with itself; in float32 on a CPU, where bfloat16 is no faster."""
    size = SIZES[device.type]
    dtype = torch.bfloat16 if precision == "bfloat16" and device.type == "cuda" else torch.float32
    return torch.randn(size, size, device=device, dtype=dtype)


@cache
def product_rate(device: torch.device, precision: str) -> float:
    """FLOP/s of a plain square product: the best of a few, for whatever else runs only takes from it.

    Measured once a process: one that trains small runs one after the other has better things to do.
    """
    a = factor(device, precision)
    rate = 2 * len(a) ** 3 / min(_seconds(a) for _ in range(ROUNDS))
    if a.is_cuda:
        torch.cuda.reset_peak_memory_stats(device)  # the run's peak is its own
    return rate


def _seconds(a: torch.Tensor) -> float:
    if a.is_cuda:
        torch.cuda.synchronize(a.device)
    begin = perf_counter()
    (a @ a)[0, 0].item()  # waits for the device
    return perf_counter() - begin


def peak_bytes(device: torch.device) -> int:
    """Most memory held so far: by tensors on a GPU, by the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def profiled(steps: int, folder: Path) -> Iterator[Callable[[], None]]:
    """Profile so many steps; gives what is to be called after every step.

    Writes trace.json.gz, which chrome://tracing and Perfetto open, and profile.txt, a table by operation. 0: neither.
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
