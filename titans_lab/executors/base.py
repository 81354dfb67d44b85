"""The contract of an executor: submit a run to a device, and watch or stop what that started."""

from __future__ import annotations

from typing import Protocol

from titans_lab.executors.devices import Device
from titans_lab.store.folder import Attempt, RunFolder


class Job(Protocol):
    """A worker that was started."""

    @property
    def attempt(self) -> Attempt:
        """What it works at."""

    @property
    def device(self) -> Device:
        """Where."""

    def poll(self) -> str | None:
        """None while it runs, then how it ended, in words."""

    def out_of_memory(self) -> bool:
        """Whether, as it seems, the system has killed it for its memory."""

    def terminate(self) -> None:
        """Ask it to end; returns at once."""

    def wait(self) -> None:
        """After `terminate`: see to it that it ends; returns when it has."""


class Executor(Protocol):
    """Starts workers."""

    def submit(self, folder: RunFolder, device: Device) -> Job:
        """Start a new attempt at a run.

        Raises:
            AlreadyRunning: Another process is at it, or has finished it.
            DeviceBusy: Another sweep's worker is in this place.
        """

    def rest(self) -> None:
        """There is nothing to start: let go of what is kept for the next run."""
