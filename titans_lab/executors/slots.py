"""Places on a device, which all sweeps of a user on this machine share: a locked file each."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from titans_lab.errors import UserError
from titans_lab.executors.devices import Device


class DeviceBusy(Exception):
    """Another sweep's worker has this place."""


def places(devices: Sequence[Device], per_device: int) -> list[Device]:
    """So many places on each device, the first of all devices before the second of any."""
    if per_device == 1:
        return list(devices)
    names = [f" #{slot + 1}" for slot in range(per_device)]
    return [
        replace(device, slot=slot, name=device.name + name) for slot, name in enumerate(names) for device in devices
    ]


def take_slot(place: Device) -> int:
    """A descriptor to hand down to a worker: the kernel frees the place when the last process that has it ends.

    Raises DeviceBusy.
    """
    path = slots_folder() / f"{place.kind}-{place.index}-{place.slot}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); remove it") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DeviceBusy from None
    return descriptor


def slots_folder() -> Path:
    """Return the folder of the locked files: on a local disk, and the user's own.

    It is `$XDG_RUNTIME_DIR/titans-lab`, or one below the folder for temporary files where that variable names nothing
    that this user can write: see `stale_runtime_folder`.

    Raises:
        UserError: Somebody else owns the folder, or there is a link or a file in its place.
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and not stale_runtime_folder():
        folder = Path(given) / "titans-lab"
    else:
        folder = Path(tempfile.gettempdir()) / f"titans-lab-{os.getuid()}"
    with suppress(FileExistsError):  # a file is named below
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UserError(f"{folder}: is not a folder of this user; remove it, or set TMPDIR to a folder of yours")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def stale_runtime_folder() -> str | None:
    """Return what is wrong with `$XDG_RUNTIME_DIR`; None where it is not set, or can be used.

    Slurm hands on that of the login node, which other nodes do not have.
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    if not given or (Path(given).is_dir() and os.access(given, os.W_OK | os.X_OK)):
        return None
    return f"XDG_RUNTIME_DIR is {given}, which is no folder that this user can write; unset it"
