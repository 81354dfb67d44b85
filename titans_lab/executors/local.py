"""Run workers on this machine: one process per device slot, which takes small runs one after another.

A run on several devices has a worker on all of their slots, which starts a process on each (`titans_lab.training`).
"""

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
from titans_lab.executors.slots import taken_slots
from titans_lab.store.claims import Holder, Watch
from titans_lab.store.folder import Attempt, RunFolder

GRACE_SECONDS = 4.0  # the time for a worker to commit its cancellation
ENDED = "the worker ended this run and lives"

Process = subprocess.Popen[bytes]


@dataclass
class LocalJob:
    """An attempt in a worker process.

    Attributes:
        attempt: The attempt that the worker executes.
        device: The device slot that it occupies, or several that are joined.
        process: The worker's process. Its standard output says when the attempt has ended.
        answered: Whether the attempt has ended and the worker waits for another one.
        deadline: The time at which a worker that was asked to stop is killed, by a monotonic clock.
        oom_kills: The number of processes that this machine had killed for their memory before the attempt began.
    """

    attempt: Attempt
    device: Device
    process: Process
    answered: bool = False
    deadline: float = math.inf
    oom_kills: int = field(default_factory=oom_kills)

    def poll(self) -> str | None:
        """Return None while the worker runs, then a message about how it ended."""
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
        """Return whether the worker was killed while the machine killed a process for its memory."""
        return self.process.poll() == -signal.SIGKILL and oom_kills() > self.oom_kills

    def idle(self) -> bool:
        """Return whether the worker waits for another attempt."""
        return self.answered and self.process.poll() is None

    def terminate(self) -> None:
        """Ask the worker to stop, whether it is busy or idle, and return immediately."""
        assert self.process.stdin is not None
        self.deadline = time.monotonic() + GRACE_SECONDS
        _close(self.process.stdin)
        self.process.terminate()

    def wait(self) -> None:
        """Wait after `terminate` until the worker has committed its cancellation, and kill it at the deadline."""
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
        watch: Finds out which claims have expired.
        jobs: The last job of each device slot.
    """

    watch: Watch = field(default_factory=Watch)
    jobs: dict[Device, LocalJob] = field(default_factory=dict)

    def submit(self, folder: RunFolder, device: Device) -> LocalJob:
        """Claim a new attempt and hand it to an idle worker or a new one."""
        last = self.jobs.get(device)
        if last and last.idle():
            job = LocalJob(self._claim(folder), device, last.process)
        else:
            self._make_room(device)
            job = self._started(folder, device)
        self.jobs[device] = job
        assert job.process.stdin is not None
        with suppress(BrokenPipeError):  # the worker has just died; `poll` will report it
            job.process.stdin.write(os.fsencode(job.attempt.path.relative_to(folder.store)) + b"\n")
            job.process.stdin.flush()
        return job

    def rest(self) -> None:
        """End idle workers, so that other sweeps can use their devices."""
        for device in list(self.jobs):
            self._end_idle(device)

    def _make_room(self, device: Device) -> None:
        """End idle workers on some of the slots of a device."""
        for other in list(self.jobs):
            if other != device and not set(other.members).isdisjoint(device.members):
                self._end_idle(other)

    def _end_idle(self, device: Device) -> None:
        job = self.jobs[device]
        if job.idle():
            job.terminate()
            job.wait()
            del self.jobs[device]

    def _started(self, folder: RunFolder, device: Device) -> LocalJob:
        with taken_slots(device) as slots:
            attempt = self._claim(folder)
            # -P: a file in the working directory must not shadow a module of this package
            module = [sys.executable, "-P", "-m", "titans_lab.training.serve"]
            with attempt.log_path.open("ab") as log:
                process = subprocess.Popen(
                    [
                        *module,
                        str(folder.store),
                        "--device",
                        device.kind,
                        *(["--nodes", *device.nodes] * bool(device.nodes)),
                    ],
                    stdin=subprocess.PIPE,  # it closes when this process ends, however that happens
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=os.environ | device.environment(),
                    pass_fds=slots,
                    start_new_session=True,  # Ctrl-C goes to this process only, which ends the workers in order
                )
        return LocalJob(attempt, device, process)

    def _claim(self, folder: RunFolder) -> Attempt:
        return folder.new_attempt(Holder.of(os.getpid()), self.watch)


def _answer(process: Process) -> bool:
    """Return whether the worker has written an answer."""
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0)[0] and os.read(process.stdout.fileno(), 64))


def _hang_up(process: Process) -> None:
    """Close this process's ends of the pipes."""
    assert process.stdin is not None
    assert process.stdout is not None
    _close(process.stdin)
    process.stdout.close()


def _close(pipe: IO[bytes]) -> None:
    """Close a pipe, and discard what is still in it if nobody reads it."""
    with suppress(BrokenPipeError):
        pipe.close()
