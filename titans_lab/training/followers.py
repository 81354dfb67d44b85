"""Start the other ranks of a run, on this machine or on others of a Slurm job, and end the run when one of them dies.

`srun` starts a rank on another machine. It hands on what the rank reads and writes, and its exit code, so that a rank
there is like one here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from titans_lab.environment import oom_kills
from titans_lab.run.config import RunConfig, plain
from titans_lab.training.ranks import Instruction, Ranks, join, leave, meeting
from titans_lab.training.replica import ALONE

SETTLE_SECONDS = 0.5  # after the death of a rank, for the other ranks that die of it
NOTICE_SECONDS = 3.0  # after the death of a rank, for the first rank to leave what it waits for


class RankFailed(Exception):
    """Another rank of the run has died. The message has its traceback.

    Attributes:
        out_of_memory: Whether memory ran out there.
    """

    def __init__(self, words: str, out_of_memory: bool) -> None:
        super().__init__(words)
        self.out_of_memory = out_of_memory


@dataclass(frozen=True)
class Death:
    """The end of a rank before the end of the run.

    Attributes:
        rank: The number of the rank.
        code: The exit code of its process, or the signal that killed it, negative.
        error: The traceback, or "" where it left none.
        when: The time of the error, by the system's monotonic clock.
        out_of_memory: Whether memory ran out.
    """

    rank: int
    code: int
    error: str
    when: float
    out_of_memory: bool

    def failure(self, size: int) -> RankFailed:
        """Return the exception that says so, of a run with `size` ranks."""
        who = f"rank {self.rank} of {size}"
        if self.error:
            return RankFailed(f"{who} failed\n\n{self.error}", self.out_of_memory)
        if self.code >= 0:
            return RankFailed(f"{who} ended with exit code {self.code}", self.out_of_memory)
        why = ": the machine ran out of memory" if self.out_of_memory else ""
        return RankFailed(f"{who} was killed by {signal.Signals(-self.code).name}{why}", self.out_of_memory)


class Followers:
    """The processes of all ranks but the first. A thread waits for the end of each.

    Args:
        requests: What each process reads from its standard input: see `titans_lab.training.follow`.
        nodes: The machine of each process. "": this one.
        lost: A function that is called when a process has died and this process has not noticed, for example because
            it waits for that rank. It does not return.
    """

    def __init__(
        self, requests: Sequence[Mapping[str, Any]], nodes: Sequence[str], lost: Callable[[RankFailed], NoReturn]
    ) -> None:
        self.size, self.lost = len(requests) + 1, lost
        self._deaths: list[Death] = []
        self._died, self._over = threading.Event(), threading.Event()
        self._oom_kills = oom_kills()
        self._processes = [self._started(request, node) for request, node in zip(requests, nodes, strict=True)]
        watches = zip(range(1, self.size), self._processes, nodes, strict=True)
        self._threads = [threading.Thread(target=self._watch, args=each, daemon=True) for each in watches]
        self._threads.append(threading.Thread(target=self._guard, daemon=True))
        for thread in self._threads:
            thread.start()

    def failure(self, seconds: float = 0.0) -> RankFailed | None:
        """Return what the first rank that died has died of, or None where none dies within some seconds."""
        if not self._died.wait(seconds):
            return None
        time.sleep(SETTLE_SECONDS)
        # A rank that was killed leaves no traceback, and those of the others say no more than that it is gone.
        first = min(self._deaths, key=lambda death: (bool(death.error), death.when))
        return first.failure(self.size)

    def end(self) -> None:
        """Wait until the processes that were told to end have ended, and kill those that do not."""
        self._over.set()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(NOTICE_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End all processes immediately."""
        self._over.set()
        for process in self._processes:
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()

    @staticmethod
    def _started(request: Mapping[str, Any], node: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*(_srun(node) if node else ()), sys.executable, "-P", "-m", "titans_lab.training.follow"],
            env=_environment(node, request["device"]),
            stdin=subprocess.PIPE,  # it closes when this process ends, however that happens
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has just died, which its thread reports
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        return process

    def _watch(self, rank: int, process: subprocess.Popen[str], node: str) -> None:
        """Wait for the end of a process, and note how it died if the run is not over."""
        assert process.stdout is not None
        with process.stdout as answer:
            said = answer.read()
        code, killed = process.wait(), oom_kills() > self._oom_kills
        if node:  # srun ends with 128 + the signal that killed a process there
            code, killed = (128 - code if code > 128 else code), False
        if code and not self._over.is_set():
            unknown = {"error": "", "when": time.monotonic(), "out_of_memory": False}
            about: dict[str, Any] = json.loads(said) if said else unknown
            short = about["out_of_memory"] or (code == -signal.SIGKILL and killed)
            self._deaths.append(Death(rank, code, about["error"], about["when"], short))
            self._died.set()

    def _guard(self) -> None:
        """Call `lost` if a process has died and `NOTICE_SECONDS` later the run is not over."""
        while not self._died.wait(0.1):
            if self._over.is_set():
                return
        if not self._over.wait(NOTICE_SECONDS):
            failure = self.failure()
            assert failure is not None
            self.lost(failure)


@contextmanager
def ranks_of(
    config: RunConfig,
    record: Mapping[str, Any],
    device: torch.device,
    lost: Callable[[RankFailed], NoReturn],
    store: Path | None = None,
    nodes: Sequence[str] = (),
) -> Iterator[Ranks]:
    """Start the other ranks of a run, and yield the ranks as the first one, this process, sees them.

    Args:
        config: The configuration of the run.
        record: The record of the run.
        device: The kind of device. The ranks of a machine use its first device of that kind, the second, and so on.
        lost: See `Followers`.
        store: The store with the run's parent. None: it has no parent.
        nodes: The machine of each of the last ranks, which are on other machines of this process's Slurm job.

    Raises:
        RankFailed: Another rank has died.
    """
    size = config.speed.devices
    if size == 1:
        yield ALONE
        return
    with meeting(size, bool(nodes)) as (met, place):
        about = {"record": {**record, "config": plain(config)}, "device": device.type, "size": size, "place": place}
        about["store"] = str(store) if store else None
        there = [*[""] * (size - len(nodes)), *nodes]
        numbers = [there[:rank].count(node) for rank, node in enumerate(there)]
        requests = [about | {"rank": rank, "number": numbers[rank]} for rank in range(1, size)]
        followers = Followers(requests, there[1:], lost)
        try:
            ranks = join(met, 0, size, config.speed.shard, own_device(device.type, 0))
            yield ranks
            ranks.tell(Instruction.END)
            leave()
            followers.end()
        except Exception as error:
            if failure := followers.failure(NOTICE_SECONDS):
                raise failure from error
            raise
        finally:
            followers.kill()


def own_device(kind: str, number: int) -> torch.device:
    """Return the device with a number among those that the processes of a machine can see."""
    return torch.device("cuda", number) if kind == "cuda" else torch.device(kind)


def _srun(node: str) -> list[str]:
    """Return the command that runs another one on a machine of this process's Slurm job."""
    cores = os.environ.get("SLURM_CPUS_PER_TASK")
    asked = [f"--nodelist={node}", "--nodes=1", "--ntasks=1", *([f"--cpus-per-task={cores}"] if cores else [])]
    return ["srun", "--quiet", "--overlap", "--mem=0", "--mpi=none", *asked]


def _environment(node: str, kind: str) -> dict[str, str]:
    """Return the environment of a rank. On another machine Slurm says which GPUs it has."""
    dropped = {"CUDA_VISIBLE_DEVICES"} if node and kind == "cuda" else set()
    return {name: value for name, value in os.environ.items() if name not in dropped}
