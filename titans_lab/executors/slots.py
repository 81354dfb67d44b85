"""Places on a device, which all sweeps of a user on this machine share: a locked file each."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
    path = _folder() / f"{place.kind}-{place.index}-{place.slot}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DeviceBusy from None
    return descriptor


def _folder() -> Path:
    """On a local disk, the user's own: `$XDG_RUNTIME_DIR/titans-lab`, else one below the folder for temporary files."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(given) / "titans-lab" if given else Path(tempfile.gettempdir()) / f"titans-lab-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
