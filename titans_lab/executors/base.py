"""The contract of an executor: submit a run to a device, and watch or stop the worker."""

from __future__ import annotations

from typing import Protocol

from titans_lab.executors.devices import Device
from titans_lab.store.folder import Attempt, RunFolder


class Job(Protocol):
    """An attempt in a worker process."""

    @property
    def attempt(self) -> Attempt:
        """Return the attempt."""

    @property
    def device(self) -> Device:
        """Return the device slot that it occupies, or several that are joined."""

    def poll(self) -> str | None:
        """Return None while the worker runs, then a message about how it ended."""

    def out_of_memory(self) -> bool:
        """Return whether the system seems to have killed the worker because memory ran out."""

    def terminate(self) -> None:
        """Ask the worker to stop, and return immediately."""

    def wait(self) -> None:
        """Wait until the worker has stopped after `terminate`, and kill it if that takes too long."""


class Executor(Protocol):
    """Starts workers on devices."""

    def submit(self, folder: RunFolder, device: Device) -> Job:
        """Start a new attempt at a run, on a device slot or on as many joined ones as the run asks for.

        Raises:
            AlreadyRunning: Another process executes the run, or has finished it.
            DeviceBusy: Another sweep's worker occupies this device slot.
        """

    def rest(self) -> None:
        """Release the workers that are kept for the next run, because there is none."""
