"""Workers on this machine, a process on each place of a device, which takes small runs one after another."""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from titans_lab.environment import oom_kills
from titans_lab.executors.devices import Device
from titans_lab.executors.slots import take_slot
from titans_lab.store.claims import Holder, Watch
from titans_lab.store.folder import Attempt, RunFolder

GRACE_SECONDS = 4.0  # for a worker to commit that it was cancelled
ENDED = "the worker ended this run and lives"

Process = subprocess.Popen[bytes]


@dataclass
class LocalJob:
    """An attempt in a worker process.

    Attributes:
        attempt: What it is at.
        device: Where.
        process: The worker's; its standard output says when the attempt has ended.
        answered: Whether it has said so, and waits for another one.
        deadline: When it will be killed, once it was asked to end.
        oom_kills: Of this machine, before it began.
    """

    attempt: Attempt
    device: Device
    process: Process
    answered: bool = False
    deadline: float = math.inf
    oom_kills: int = field(default_factory=oom_kills)

    def poll(self) -> str | None:
        """None while it runs, then how it ended, in words."""
        code = self.process.poll()
        if code is None:
            self.answered = self.answered or _answer(self.process)
            return ENDED if self.answered else None
        _hang_up(self.process)
        if code >= 0:
            return f"the worker ended with exit code {code}"
        why = ": the machine ran out of memory" if self.out_of_memory() else ""
        return f"the worker was killed by {signal.Signals(-code).name}{why}"

    def out_of_memory(self) -> bool:
        """Whether it was killed, and the machine has meanwhile killed a process for its memory."""
        return self.process.poll() == -signal.SIGKILL and oom_kills() > self.oom_kills

    def idle(self) -> bool:
        """Whether the worker waits for another attempt."""
        return self.answered and self.process.poll() is None

    def terminate(self) -> None:
        """Ask it to end, whether it is at work or idle; returns at once."""
        assert self.process.stdin is not None
        self.deadline = time.monotonic() + GRACE_SECONDS
        _close(self.process.stdin)
        self.process.terminate()

    def wait(self) -> None:
        """After `terminate`: give it what is left of its time to commit that it was cancelled, then kill it."""
        try:
            self.process.wait(max(0.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _hang_up(self.process)


@dataclass(frozen=True)
class LocalExecutor:
    """Starts workers as processes of this machine.

    Attributes:
        watch: Knows which runs are free.
        jobs: The last one at each place.
    """

    watch: Watch = field(default_factory=Watch)
    jobs: dict[Device, LocalJob] = field(default_factory=dict)

    def submit(self, folder: RunFolder, device: Device) -> LocalJob:
        """Give a worker, one that is idle or a new one, an attempt that this process claims and the worker keeps."""
        last = self.jobs.get(device)
        if last and last.idle():
            job = LocalJob(self._claim(folder), device, last.process)
        else:
            job = self._started(folder, device)
        self.jobs[device] = job
        assert job.process.stdin is not None
        with suppress(BrokenPipeError):  # it has just died, which `poll` will say
            job.process.stdin.write(os.fsencode(job.attempt.path.relative_to(folder.store)) + b"\n")
            job.process.stdin.flush()
        return job

    def rest(self) -> None:
        """End the workers that are idle: others may want their devices."""
        for device, job in list(self.jobs.items()):
            if job.idle():
                job.terminate()
                job.wait()
                del self.jobs[device]

    def _started(self, folder: RunFolder, device: Device) -> LocalJob:
        slot = take_slot(device)
        try:
            attempt = self._claim(folder)
            # -P: what lies in the working directory must not stand in for a module of ours
            module = [sys.executable, "-P", "-m", "titans_lab.training.serve"]
            with attempt.log_path.open("ab") as log:
                process = subprocess.Popen(
                    [*module, str(folder.store), "--device", device.kind],
                    stdin=subprocess.PIPE,  # its closing tells the worker that we are gone, however that came
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=os.environ | device.environment(),
                    pass_fds=(slot,),
                    start_new_session=True,  # Ctrl-C is for us: we end the workers in order
                )
        finally:
            os.close(slot)
        return LocalJob(attempt, device, process)

    def _claim(self, folder: RunFolder) -> Attempt:
        return folder.new_attempt(Holder.of(os.getpid()), self.watch)


def _answer(process: Process) -> bool:
    """Whether the worker has said something."""
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0)[0] and os.read(process.stdout.fileno(), 64))


def _hang_up(process: Process) -> None:
    """Close our ends."""
    assert process.stdin is not None
    assert process.stdout is not None
    _close(process.stdin)
    process.stdout.close()


def _close(pipe: IO[bytes]) -> None:
    """Without what it still holds, where nobody is left to read it."""
    with suppress(BrokenPipeError):
        pipe.close()
