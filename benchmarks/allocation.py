"""Set the memory allocator as for a sweep's workers on a CPU."""

from __future__ import annotations

import os
import sys

from titans_lab.executors.devices import KEEP_FREED

VARIABLE = "GLIBC_TUNABLES"  # read by the C library when a process starts


def as_a_worker() -> None:
    """Start this script again with the workers' settings. Set `GLIBC_TUNABLES`, possibly to nothing, to prevent it."""
    if VARIABLE not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {VARIABLE: KEEP_FREED})
