"""Describe where a run is executed. This is recorded with the run and is not part of its identity."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

from titans_lab.source_digest import files_digest, source_digest

#: The environment variables that say which job of which submission a process is, and their names in a record.
JOB_FACTS = {"TITANS_LAB_SUBMISSION": "submission", "TITANS_LAB_JOB": "job"}
VMSTAT = Path("/proc/vmstat")
CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
LIBRARIES = ("numpy", "pyarrow", "titans-lab", "torch", "triton")


def environment() -> dict[str, Any]:
    """Return host, Python, commit and digests of the code, versions of the installed libraries, and a cluster's job."""
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "commit": code_version(),
        "source_digest": source_digest(),
        "files_digest": files_digest(),
        "libraries": {name: version for name in LIBRARIES if (version := library_version(name))},
        **job_facts(),
    }


def job_facts() -> dict[str, str]:
    """Return the job of a cluster that this process is, and its submission, or nothing."""
    return {name: os.environ[variable] for variable, name in JOB_FACTS.items() if os.environ.get(variable)}


def code_version() -> str:
    """Return the commit of the code, with "+changes" if files differ from it, or the package's version without git."""
    root = Path(__file__).resolve().parent.parent
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None or _git(root, "rev-parse", "--show-toplevel") != str(root):
        return f"titans-lab {library_version('titans-lab') or 'unknown'}"
    return commit + ("+changes" if _git(root, "status", "--porcelain", "--", "titans", "titans_lab") else "")


def processor() -> str:
    """Return the name of the processor, where the system reports it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), os.uname().machine)


def oom_kills() -> int:
    """Return how many processes this machine has killed for their memory since its boot, or 0 where that is unknown."""
    try:
        counters = dict(line.split() for line in VMSTAT.read_text().splitlines())
    except OSError:
        return 0
    return int(counters.get("oom_kill", 0))


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use: those of its affinity, limited by its CPU quota."""
    count = os.cpu_count() or 1
    numbers = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(count))
    quota = _cpu_quota()
    return numbers if quota is None else numbers[: max(1, int(quota))]


def _cpu_quota() -> float | None:
    """Return the CPU quota of this process's control groups in cores, or None without a limit."""
    try:
        memberships = [line.split(":", 2) for line in MEMBERSHIP.read_text().splitlines()]
    except OSError:
        return None
    quotas = []
    for _, controllers, path in memberships:
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / controllers  # version 2 has all controllers in one tree
        group = root / path.lstrip("/")
        groups = [group, *group.parents][: len(group.parts) - len(root.parts) + 1]
        quotas += [quota for each in groups if (quota := _quota_of(each)) is not None]
    return min(quotas, default=None)


def _quota_of(group: Path) -> float | None:
    """Return the quota of one control group, of version 2 or 1, in cores, or None where it has none."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        return None if quota in ("max", "-1") else int(quota) / int(period)
    return None


def library_version(name: str) -> str | None:
    """Return the version of an installed library without importing it, or None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """Return the output of a git command, or None where there is no git or no repository."""
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(root),
        *arguments,
    ]  # without a lock, which would block the user's own git commands
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
