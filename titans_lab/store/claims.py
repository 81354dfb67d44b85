"""Who is at an attempt: a file in its folder that only one process can have made, on any file system with hard links.

    attempts/<n>/claim      who holds it, and a counter that the worker rewrites while it lives

On NFS neither locks nor exclusive creation can be relied on, but link(2) can: of several that link a file of their own
to the same name, one finds that its file has two names. A claim is never taken away. It is over when its holder is
dead: on this machine its process is looked for; of another one's, the counter stood still for `LEASE_SECONDS` of the
looker's own clock, whatever any clock says of the time. Then somebody may claim the next attempt, and a worker that
comes back finds that claim before its commit. So a run may be executed twice, but is recorded once.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
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
DIGITS = 12  # of the counter, which is rewritten in its place


class AlreadyRunning(UserError):
    """Another process is at this run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: another process is running it; wait for its end, or end that process")


@dataclass(frozen=True)
class Holder:
    """A process.

    Attributes:
        host: Name of its machine, for people.
        machine: Equal for two processes that see each other's ids: a machine since it was started, and a container.
        pid: Its id there.
        begun: When it began, as the machine says it: an id is given again.
    """

    host: str
    machine: str
    pid: int
    begun: str

    @classmethod
    def of(cls, pid: int) -> Holder:
        """A process of this machine."""
        return cls(platform.node(), this_machine(), pid, beginning(pid) or "")

    def alive(self) -> bool | None:
        """None: it is on another machine, from which that cannot be seen."""
        if not self.pid:
            return False
        if self.machine != this_machine():
            return None
        return bool(self.begun) and beginning(self.pid) == self.begun


@cache
def this_machine() -> str:
    """See `Holder.machine`."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()  # no Linux: there a process id with the same beginning is the same process


def beginning(pid: int) -> str | None:
    """When a process began; None where there is none, or it is dead and its parent has yet to notice."""
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


@dataclass(frozen=True)
class Claim:
    """The claim file of an attempt, there or not."""

    path: Path

    def take(self, holder: Holder) -> None:
        """Be the one that made it; AlreadyRunning where another one is."""
        attempts = self.path.parents[1]
        attempts.mkdir(parents=True, exist_ok=True)
        with temporary_file(attempts / self.path.name, content_of(holder, 0)) as mine:
            self.path.parent.mkdir(exist_ok=True)  # where it stays empty, the next one claims it
            if not link_new(mine, self.path):
                raise AlreadyRunning(attempts.parent)

    def taken(self) -> bool:
        """Whether somebody has made it."""
        return self.path.exists()

    def read(self) -> bytes:
        """The whole of it; empty where it is not there."""
        try:
            with open_regular(self.path) as file:
                return file.read()
        except OSError:
            return b""

    def holder(self) -> Holder | None:
        """None where the file does not say: it is not there, or is being rewritten, or is damaged."""
        try:
            return Holder(**json.loads(self.read().partition(b"\n")[0]))
        except (ValueError, TypeError):
            return None

    def seems_alive(self) -> bool:
        """Whether its holder lives; of another machine's, which nobody here has watched, by the file's time."""
        holder = self.holder()
        alive = holder.alive() if holder else None
        if alive is not None:
            return alive
        with suppress(FileNotFoundError):
            return time.time() - self.path.stat().st_mtime < LEASE_SECONDS
        return False

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Hold it as this process, which took it or was handed it, and show on every machine that it lives."""
        ended, me = threading.Event(), Holder.of(os.getpid())
        self.write(me, 0)
        thread = threading.Thread(target=self._beat, args=(me, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            with suppress(OSError):  # then it is over when this process is
                self.write(NOBODY, 0)

    def _beat(self, me: Holder, ended: threading.Event) -> None:
        count = 0
        while not ended.wait(BEAT_SECONDS):
            count += 1
            with suppress(OSError):  # a beat that cannot be written is like none
                self.write(me, count)

    def write(self, holder: Holder, count: int) -> None:
        """In place: of the same length but for the first time, and seen by others on NFS when the file is closed."""
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
    """What a claim was when it was first seen like that, and when it was last looked at."""

    content: bytes
    since: float
    looked: float


@dataclass
class Watch:
    """Finds out which claims are over; to be asked again and again by one process.

    Attributes:
        lease: Seconds for which the counter of a claim from another machine may stand still.
        clock: Seconds of a clock that is steady.
    """

    lease: float = LEASE_SECONDS
    clock: Callable[[], float] = time.monotonic
    _seen: dict[Path, _Seen] = field(default_factory=dict)

    def over(self, claim: Claim) -> bool:
        """Whether its holder is dead, or there is none."""
        if not claim.taken():
            return True
        holder = claim.holder()
        alive = holder.alive() if holder else None
        return self._stands_still(claim) if alive is None else not alive

    def _stands_still(self, claim: Claim) -> bool:
        now, content = self.clock(), claim.read()
        seen = self._seen.get(claim.path)
        # Where we have not looked for long, it was perhaps us, or the whole machine, that slept.
        if seen is None or seen.content != content or now - seen.looked > self.lease / 2:
            seen = self._seen[claim.path] = _Seen(content, now, now)
        seen.looked = now
        return now - seen.since > self.lease
