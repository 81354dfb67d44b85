"""Workers on this machine, a process each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field

from titans_lab.executors.devices import Device
from titans_lab.store.claims import Holder, Watch
from titans_lab.store.folder import Attempt, RunFolder

GRACE_SECONDS = 4.0  # for a worker to commit that it was cancelled


@dataclass(frozen=True)
class LocalJob:
    """A worker process."""

    attempt: Attempt
    device: Device
    process: subprocess.Popen[bytes]

    def poll(self) -> str | None:
        """None while it runs, then how it ended, in words."""
        code = self.process.poll()
        if code is None:
            return None
        self._hang_up()
        if code >= 0:
            return f"the worker ended with exit code {code}"
        why = ": perhaps the machine ran out of memory" if code == -signal.SIGKILL else ""
        return f"the worker was killed by {signal.Signals(-code).name}{why}"

    def terminate(self) -> None:
        """Ask it to end; returns at once."""
        self.process.terminate()

    def wait(self) -> None:
        """Give it time to commit that it was cancelled, then kill it."""
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._hang_up()

    def _hang_up(self) -> None:
        """Close our end of its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()


@dataclass(frozen=True)
class LocalExecutor:
    """Starts workers as processes of this machine.

    Attributes:
        watch: Knows which runs are free.
    """

    watch: Watch = field(default_factory=Watch)

    def submit(self, folder: RunFolder, device: Device) -> LocalJob:
        """Start a worker on an attempt that this process claims, and the worker then keeps."""
        attempt = folder.new_attempt(Holder.of(os.getpid()), self.watch)
        # -P: what lies in the working directory must not stand in for a module of ours
        command = [sys.executable, "-P", "-m", "titans_lab.worker", str(attempt.path), "--device", device.kind]
        with attempt.log_path.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--follow-stdin"],
                stdin=subprocess.PIPE,  # its closing tells the worker that we are gone, however that came
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | device.environment(),
                start_new_session=True,  # Ctrl-C is for us: we end the workers in order
            )
        return LocalJob(attempt, device, process)
