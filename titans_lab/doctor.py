"""Check whether a machine has what titans-lab needs, and whether a store's file system supports its records."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.environment import library_version, usable_cores
from titans_lab.errors import UserError, install
from titans_lab.executors.devices import gpus
from titans_lab.executors.slots import slots_folder, stale_runtime_folder
from titans_lab.run.config import DataConfig, RunConfig, TaskConfig
from titans_lab.run.run import config_of
from titans_lab.store.files import DamagedError, link_new, temporary_file, write_bytes
from titans_lab.store.store import Store

LEAST_BYTES = 2**30  # bytes that must be free on the disk and in memory
OLDEST_TORCH = (2, 11)
PARTS = ("numpy", "scipy", "pyarrow", "duckdb", "pydantic", "PyYAML", "typer", "rich", "jinja2")
OPTIONAL = ("triton", "tokenizers", "datasets", "lm-eval", "optuna", "flash-linear-attention", "titans-pytorch")
ASK_TORCH = """
import json, torch
gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
product = bool(((torch.eye(8) @ torch.eye(8)) == torch.eye(8)).all())
print(json.dumps({"version": torch.__version__, "gpus": gpus, "cuda": torch.version.cuda, "works": product}))
"""


@dataclass(frozen=True)
class Fact:
    """One result of the check.

    Attributes:
        name: The name of the checked property.
        value: The value of the property on this machine.
        wrong: The problem and its remedy. None: there is no problem.
    """

    name: str
    value: str
    wrong: str | None = None


def machine(root: Path) -> list[Fact]:
    """Return the facts of this machine, for a store at `root`, which need not exist."""
    return [*_torch(), *_gpus(), *_room(root), *_file_system(root), *_packages()]


def data(store: Store) -> Iterator[Fact]:
    """Yield for each data file of the recorded runs whether its content is what they were trained on."""
    hashes: dict[tuple[DataConfig, TaskConfig], Counter[str]] = {}
    configs: dict[tuple[DataConfig, TaskConfig], RunConfig] = {}
    for folder in store.folders():
        try:
            record = folder.record()
            config = config_of(record)
        except (DamagedError, ValueError, TypeError, KeyError):
            continue  # `titans_lab.store.check` names it
        if config.task.settings.READS or config.task.settings.PATHS:
            configs[config.data, config.task] = config
            hashes.setdefault((config.data, config.task), Counter())[record["data_hash"]] += 1
    for key, config in configs.items():
        gone = any(not Path(path).exists() for path in config.data_paths())
        source = config.data_source() + ": not on this machine" * gone
        yield Fact("data", source, None if gone else _changed(config, hashes[key]))


def _changed(config: RunConfig, hashes: Counter[str]) -> str | None:
    try:
        now = config.data_digest()
    except UserError as error:
        return str(error)
    others = hashes.total() - hashes[now]
    words = f"not what {others} of {hashes.total()} runs were trained on; put that back, or sweep their studies again"
    return words if others else None


def _torch() -> Iterator[Fact]:
    """Yield the facts of torch from a separate process: a broken torch may end the process that imports it."""
    done = subprocess.run([sys.executable, "-P", "-c", ASK_TORCH], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["the process ended without a message"])[-1]
        yield Fact("torch", library_version("torch") or "none", f"cannot be used: {last}; install it again")
        return
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    version = tuple(int(part) for part in said["version"].split("+")[0].split(".")[:2])
    old = f"older than {'.'.join(map(str, OLDEST_TORCH))}; update torch" if version < OLDEST_TORCH else None
    yield Fact("torch", said["version"], old if said["works"] else "a product of matrices came out wrong")
    there = gpus()
    blind = "nvidia-smi lists a GPU that torch cannot use: a CPU build, or a driver too old" if there else None
    yield Fact("torch on a GPU", ", ".join(said["gpus"]) or "no", None if said["gpus"] else blind)


def _gpus() -> Iterator[Fact]:
    yield Fact("GPUs", ", ".join(gpu.name for gpu in gpus()) or "none")
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        yield Fact("GPU driver", said[0] if said else "unknown")


def _room(root: Path) -> Iterator[Fact]:
    free = shutil.disk_usage(next(path for path in (root, *root.absolute().parents) if path.exists())).free
    yield Fact("free disk", f"{free / 2**30:.1f} GiB", "less than 1 GiB; make room" if free < LEAST_BYTES else None)
    memory = _free_memory()
    if memory is not None:
        little = "less than 1 GiB; end other programs" if memory < LEAST_BYTES else None
        yield Fact("free memory", f"{memory / 2**30:.1f} GiB", little)
    cores = usable_cores()
    yield Fact("cores", f"{len(cores)} of {os.cpu_count()}: {', '.join(map(str, cores))}")
    yield from _slots()


def _slots() -> Iterator[Fact]:
    """Yield whether this user has a folder for the device slots that the sweeps of a machine share."""
    try:
        yield Fact("device slots", str(slots_folder()), stale_runtime_folder())
    except (UserError, OSError) as error:
        yield Fact("device slots", "none", str(error))


def _free_memory() -> int | None:
    """Return the bytes of memory that programs can still use, or None where the system does not report it."""
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)


def _file_system(root: Path) -> Iterator[Fact]:
    """Yield whether the store's file system supports the renames and hard links that records and claims need."""
    if not root.is_dir():
        yield Fact("store", f"{root}: not there yet")
        return
    if not os.access(root, os.W_OK):
        yield Fact("store", str(root), "cannot be written; query, status and report work, a sweep does not")
        return
    yield Fact("store", str(root))
    for name, check in {"rename": _renames, "hard links": links}.items():
        yield Fact(name, *_outcome(check, root))


def _outcome(check: Callable[[Path], bool], root: Path) -> tuple[str, str | None]:
    remedy = "claims and commits need it; keep the store on a local disk or NFS"
    try:
        return ("yes", None) if check(root) else ("no", f"the store's file system cannot do it: {remedy}")
    except OSError as error:
        return "no", f"{error.strerror}: {remedy}"
    except UserError as error:
        return "no", str(error)


def _renames(root: Path) -> bool:
    """Return whether a file can be renamed over another."""
    path = root / f".doctor-{os.getpid()}"
    try:
        write_bytes(path, b"1")
        write_bytes(path, b"2")
        return path.read_bytes() == b"2"
    finally:
        path.unlink(missing_ok=True)


def links(root: Path) -> bool:
    """Return whether of two links to the same name one wins, and the other process can tell."""
    path = root / f".doctor-{os.getpid()}"
    try:
        with temporary_file(path, b"1") as first, temporary_file(path, b"2") as second:
            return link_new(first, path) and not link_new(second, path) and path.read_bytes() == b"1"
    finally:
        path.unlink(missing_ok=True)


def _packages() -> Iterator[Fact]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Fact("Python", python, None if sys.version_info >= (3, 11) else "older than 3.11")
    for name in PARTS:
        version = library_version(name)
        yield Fact(name, version or "none", None if version else f"is missing; repeat {install()}")
    for name in OPTIONAL:
        yield Fact(f"{name} (optional)", library_version(name) or "none")
