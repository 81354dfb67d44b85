"""Device slots, which all sweeps of a user on this machine share: each is a locked file."""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from titans_lab.errors import UserError
from titans_lab.executors.devices import Device

LONGEST_HOLDER = 200  # bytes


class DeviceBusy(Exception):
    """Another sweep's worker occupies this device slot; the message says which sweep.

    Attributes:
        slot: The slot.
    """

    def __init__(self, slot: Device, holder: str) -> None:
        super().__init__(holder)
        self.slot = slot


def device_slots(devices: Sequence[Device], per_device: int) -> list[Device]:
    """Return `per_device` slots on each device: the first of all devices, then the second of all, and so on."""
    if per_device == 1:
        return list(devices)
    names = [f" #{slot + 1}" for slot in range(per_device)]
    return [
        replace(device, slot=slot, name=device.name + name) for slot, name in enumerate(names) for device in devices
    ]


@contextmanager
def taken_slots(device: Device) -> Iterator[tuple[int, ...]]:
    """Yield locked file descriptors of all slots of a device, for a worker to inherit, and close them afterwards.

    Raises:
        DeviceBusy: Another sweep's worker occupies one of the slots. None is taken.
    """
    with ExitStack() as stack:
        descriptors = []
        for slot in device.members:
            descriptors.append(take_slot(slot))
            stack.callback(os.close, descriptors[-1])
        yield tuple(descriptors)


def take_slot(slot: Device) -> int:
    """Return a locked file descriptor for a worker to inherit. The slot is free when the last process with it ends.

    Raises:
        DeviceBusy: Another sweep's worker occupies the slot.
    """
    path = slots_folder() / f"{slot.kind}-{slot.index}-{slot.slot}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); remove it") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, LONGEST_HOLDER, 0).decode(errors="replace")
        os.close(descriptor)
        raise DeviceBusy(slot, holder) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, holder_words().encode()[:LONGEST_HOLDER], 0)
    return descriptor


def holder_words() -> str:
    """Return the description of this process that other sweeps show: its id and its command."""
    return f"pid {os.getpid()}: {shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}"


def slots_folder() -> Path:
    """Return the folder of the locked files, which is on a local disk and belongs to the user.

    The folder is `$XDG_RUNTIME_DIR/titans-lab`. Where that variable names no folder that this user can write, it is
    below the folder for temporary files: see `stale_runtime_folder`.

    Raises:
        UserError: Somebody else owns the folder, or a link or a file is in its place.
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and not stale_runtime_folder():
        variable, folder = "XDG_RUNTIME_DIR", Path(given) / "titans-lab"
    else:
        variable, folder = "TMPDIR", Path(tempfile.gettempdir()) / f"titans-lab-{os.getuid()}"
    with suppress(FileExistsError):  # the check below reports a file
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UserError(f"{folder}: is not a folder of this user; remove it, or set {variable} to a folder of yours")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def stale_runtime_folder() -> str | None:
    """Return the problem with `$XDG_RUNTIME_DIR`, or None where it is not set or can be used.

    Slurm passes on the variable of the login node, whose folder other nodes do not have.
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    if not given or (Path(given).is_dir() and os.access(given, os.W_OK | os.X_OK)):
        return None
    return f"XDG_RUNTIME_DIR is {given}, which is not a folder that this user can write; unset it"
