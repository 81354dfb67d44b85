"""Run the tool where the kernel refuses hard links, as on a file system that has none.

    python tests/helpers/without_links.py sweep study.yaml

Linux's seccomp answers link(2) and linkat(2) with EPERM, for this process and those that it starts. No right is needed.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

from titans_lab.cli import main

LINK, LINKAT = 86, 265  # numbers of the calls on x86-64
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # instructions of the classic BPF
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # of prctl(2)


def can_refuse() -> bool:
    """Return whether this helper knows the machine."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def refuse_links() -> None:
    """Have the kernel refuse hard links from now on."""
    lines = [(LOAD, 0, 0, 0), (EQUAL, 2, 0, LINK), (EQUAL, 1, 0, LINKAT), (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(code)))
    system = ctypes.CDLL(None, use_errno=True)
    for call in ((NO_NEW_PRIVILEGES, 1, 0, 0, 0), (SECCOMP, FILTER, ctypes.byref(program), 0, 0)):
        if system.prctl(*call):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse_links()
    main()
