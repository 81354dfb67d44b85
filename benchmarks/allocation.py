"""The memory allocator as a sweep's workers on a CPU have it."""

from __future__ import annotations

import os
import sys

from titans_lab.executors.devices import KEEP_FREED

VARIABLE = "GLIBC_TUNABLES"  # read by the C library when a process starts


def as_a_worker() -> None:
    """Start this script again with those settings, unless some are given; none: `GLIBC_TUNABLES= python ...`."""
    if VARIABLE not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {VARIABLE: KEEP_FREED})
