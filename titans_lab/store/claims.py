"""Claims: a file in an attempt's folder that exactly one process can make, on any file system with hard links.

    attempts/<n>/claim      the holder, and a counter that the worker rewrites while it lives

On NFS neither locks nor exclusive creation are reliable, but link(2) is: of several processes that link a file of their
own to the same name, exactly one finds that its file has two names. A claim is never taken away. It expires when its
holder is dead. A process of this machine is looked up. A process of another machine counts as dead if its counter stood
still for `LEASE_SECONDS` by the observer's own monotonic clock. Then another process may claim the next attempt. A
worker that comes back finds that claim before its commit. So a run may be executed twice, but is recorded once.

A look that decides nothing, such as that of `status`, does not wait for the counter. It takes the age of the file by
the clock of the file system, so that no two machines' clocks are ever compared.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from titans_lab.errors import UserError
from titans_lab.input import open_regular
from titans_lab.store.files import link_new, temporary_file

BEAT_SECONDS = 5.0
LEASE_SECONDS = 60.0
OFFSET_SECONDS = 30.0  # after which the clock of a file system is read again
DIGITS = 12  # digits of the counter, a fixed number because it is rewritten in place


class AlreadyRunning(UserError):
    """Another process holds the claim of this run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: another process is running it; wait for its end, or end that process")


@dataclass(frozen=True)
class Holder:
    """A process that holds a claim.

    Attributes:
        host: The name of its machine, for messages.
        machine: A name of the machine since its boot and of the container: equal for processes that see each other's
            ids.
        pid: The process id.
        begun: The start time that the system reports. It tells apart processes that had the same id.
    """

    host: str
    machine: str
    pid: int
    begun: str

    @classmethod
    def of(cls, pid: int) -> Holder:
        """Return the holder that stands for a process of this machine."""
        return cls(platform.node(), this_machine(), pid, beginning(pid) or "")

    def alive(self) -> bool | None:
        """Return whether the process is alive, or None if it is on another machine."""
        if not self.pid:
            return False
        if self.machine != this_machine():
            return None
        return bool(self.begun) and beginning(self.pid) == self.begun


@cache
def this_machine() -> str:
    """Return the name of this machine: see `Holder.machine`."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()  # no Linux: there a process id with the same beginning is the same process


def beginning(pid: int) -> str | None:
    """Return the start time of a process, or None where there is none or it is a zombie."""
    if sys.platform != "linux":
        listed = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True)
        state, _, begun = listed.stdout.strip().partition(" ")
        return None if not begun or state.startswith("Z") else begun.strip()
    try:
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if values[0] in "ZX" else values[19]


NOBODY = Holder("", "", 0, "")

#: For each file system: its time less this machine's monotonic time, and when that was asked for.
_offsets: dict[int, tuple[float, float]] = {}


def time_of(folder: Path, file_system: int) -> float:
    """Return the time by the clock of a folder's file system, which on NFS is the server's.

    A file that is made there has it. Where none can be made, the time is this machine's.
    """
    offset, asked = _offsets.get(file_system, (0.0, -math.inf))
    if time.monotonic() - asked > OFFSET_SECONDS:
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                there = os.fstat(file.fileno()).st_mtime
        except OSError:
            there = time.time()
        offset, asked = there - time.monotonic(), time.monotonic()
        _offsets[file_system] = offset, asked
    return offset + time.monotonic()


@dataclass(frozen=True)
class Claim:
    """The claim file of an attempt. It need not exist."""

    path: Path

    def take(self, holder: Holder) -> None:
        """Make the claim as `holder`. Raise AlreadyRunning where another process has made it."""
        attempts = self.path.parents[1]
        attempts.mkdir(parents=True, exist_ok=True)
        with temporary_file(attempts / self.path.name, content_of(holder, 0)) as mine:
            self.path.parent.mkdir(exist_ok=True)  # if it stays empty, the next process claims it
            if not link_new(mine, self.path):
                raise AlreadyRunning(attempts.parent)

    def taken(self) -> bool:
        """Return whether the claim has been made."""
        return self.path.exists()

    def read(self) -> bytes:
        """Return the content of the file, which is empty where there is no file."""
        try:
            with open_regular(self.path) as file:
                return file.read()
        except OSError:
            return b""

    def holder(self) -> Holder | None:
        """Return the holder, or None where the file is missing, damaged or being rewritten."""
        try:
            return Holder(**json.loads(self.read().partition(b"\n")[0]))
        except (ValueError, TypeError):
            return None

    def seems_alive(self) -> bool:
        """Return whether the holder seems to be alive. For a holder on another machine the file's age decides."""
        holder = self.holder()
        alive = holder.alive() if holder else None
        if alive is not None:
            return alive
        with suppress(OSError), open_regular(self.path) as file:  # NFS asks the server again for a file that is opened
            changed = os.fstat(file.fileno())
            return time_of(self.path.parent, changed.st_dev) - changed.st_mtime < LEASE_SECONDS
        return False

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Hold the claim as this process, and keep its counter running so that other machines see that it is alive."""
        ended, me = threading.Event(), Holder.of(os.getpid())
        self.write(me, 0)
        thread = threading.Thread(target=self._beat, args=(me, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            with suppress(OSError):  # if this fails, the claim expires when the process ends
                self.write(NOBODY, 0)

    def _beat(self, me: Holder, ended: threading.Event) -> None:
        count = 0
        while not ended.wait(BEAT_SECONDS):
            count += 1
            with suppress(OSError):  # a failed write counts as a missed beat
                self.write(me, count)

    def write(self, holder: Holder, count: int) -> None:
        """Rewrite the claim in place. Other machines see it on NFS when the file is closed."""
        content = content_of(holder, count)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)


def content_of(holder: Holder, count: int) -> bytes:
    return json.dumps(asdict(holder)).encode() + f"\n{count:0{DIGITS}}\n".encode()


@dataclass
class _Seen:
    """The content of a claim, when it was first seen, and when the claim was last read."""

    content: bytes
    since: float
    read_at: float


@dataclass
class Watch:
    """Finds out which claims have expired. One process asks it repeatedly.

    Attributes:
        lease: The seconds for which the counter of a claim from another machine may stand still.
        clock: A monotonic clock in seconds.
    """

    lease: float = LEASE_SECONDS
    clock: Callable[[], float] = time.monotonic
    _seen: dict[Path, _Seen] = field(default_factory=dict)
    _first: dict[Path, bytes] = field(default_factory=dict)

    def over(self, claim: Claim) -> bool:
        """Return whether a claim has expired: its holder is dead, or it has none."""
        if not claim.taken():
            return True
        holder = claim.holder()
        alive = holder.alive() if holder else None
        return self._stands_still(claim) if alive is None else not alive

    def lives(self, claim: Claim) -> bool:
        """Return whether the holder is known to live: a process of this machine, or one whose counter has moved."""
        holder = claim.holder()
        alive = holder.alive() if holder else None
        return self._first.setdefault(claim.path, claim.read()) != claim.read() if alive is None else alive

    def _stands_still(self, claim: Claim) -> bool:
        now, content = self.clock(), claim.read()
        seen = self._seen.get(claim.path)
        # After a long gap between two looks this process or the whole machine may have slept, so counting starts again.
        if seen is None or seen.content != content or now - seen.read_at > self.lease / 2:
            seen = self._seen[claim.path] = _Seen(content, now, now)
        seen.read_at = now
        return now - seen.since > self.lease
