"""A training for which memory is short, for a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from every_task import trainer_of

from titans_lab.run.config import RunConfig
from titans_lab.store.folder import Attempt
from titans_lab.training.microbatch import is_out_of_memory
from titans_lab.training.train import Trainer


def train_apart(megabytes: int, config: RunConfig, attempt: Attempt, device: str = "cpu") -> int | None:
    """Run `train_with` in a process of its own, and return its exit code.

    It is not a fork, which would have what this process has freed. glibc gives it one arena: the address space that
    the arenas of threads reserve would otherwise make it a matter of chance what fits.
    """
    with mock.patch.dict(os.environ, MALLOC_ARENA_MAX="1"):
        process = multiprocessing.get_context("spawn").Process(
            target=train_with, args=(megabytes, config, attempt, device)
        )
        process.start()
    process.join()
    return process.exitcode


def train_with(megabytes: int, config: RunConfig, attempt: Attempt, device: str = "cpu") -> None:
    """Train a run in a separate process that may use `megabytes` more of a device's memory than it has."""
    trainer = trainer_of(config, attempt, device=device)
    if device == "cuda":
        allowed = torch.cuda.memory_reserved() + megabytes * 2**20
        torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / torch.cuda.mem_get_info()[1]))
        _train(trainer, attempt)
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    _train(trainer, attempt)


def _train(trainer: Trainer, attempt: Attempt) -> None:
    try:
        end: dict[str, Any] = trainer.run()
    except Exception as error:
        end = {"oom": is_out_of_memory(error), "error": repr(error)}
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (attempt.path / "end.json").write_text(json.dumps(end))
