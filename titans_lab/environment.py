"""Where a run happens: recorded beside it, and no part of its identity."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

VMSTAT = Path("/proc/vmstat")
LIBRARIES = ("numpy", "pyarrow", "titans-lab", "torch", "triton")


def environment() -> dict[str, Any]:
    """Host, Python, commit of the code, and the versions of the libraries that are installed."""
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "commit": code_version(),
        "libraries": {name: version for name in LIBRARIES if (version := library_version(name))},
    }


def code_version() -> str:
    """The commit that the package runs from, with "+changes" when files differ from it; else its version."""
    root = Path(__file__).resolve().parent.parent
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None or _git(root, "rev-parse", "--show-toplevel") != str(root):
        return f"titans-lab {library_version('titans-lab') or 'unknown'}"
    return commit + ("+changes" if _git(root, "status", "--porcelain", "--", "titans", "titans_lab") else "")


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), os.uname().machine)


def oom_kills() -> int:
    """How many processes this machine has killed for their memory since it was started; 0 where it does not say."""
    try:
        counters = dict(line.split() for line in VMSTAT.read_text().splitlines())
    except OSError:
        return 0
    return int(counters.get("oom_kill", 0))


def library_version(name: str) -> str | None:
    """As installed, without importing it; None where it is not."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where there is no git or no repository."""
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(root),
        *arguments,
    ]  # no lock, which would stand in the user's way
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
