"""The build of the C source in this folder: by the machine's own compiler, at first use, in a second or two.

What is compiled is kept in a folder that is the user's own, `cache_folder("cpu")`. Its name has the digest of all that
decides what it is (source, options, compiler, processor) and the digest of its bytes, which is checked before use. One
process compiles; others that start together wait for it. A file gets its name when it is complete.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from titans.compiler import c_compiler
from titans.ops.cache import cache_folder

SOURCE = Path(__file__).parent
OPTIONS = ("-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
NATIVE = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
PATIENCE = 120  # seconds for the compiler


class Unavailable(Exception):
    """The kernel cannot be had on this machine; the message says why."""


def library(double: bool) -> ctypes.CDLL:
    """Return the compiled kernel for float64, or for float32.

    Raises:
        Unavailable: There is no compiler, or it cannot compile or load the source.
    """
    compiler = c_compiler()
    if compiler is None:
        raise Unavailable("there is no C compiler: install gcc or clang, or pip install ziglang")
    command = [*compiler, *OPTIONS, NATIVE, *(["-DDOUBLE"] if double else [])]
    folder = cache_folder("cpu")
    try:
        name = _name(command)
        path = _found(folder, name)
        if path is None:
            with _alone(folder / f"{name}.lock"):
                path = _found(folder, name) or _compiled(folder, name, command)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the C compiler's result cannot be used: {error}") from error


def _name(command: Sequence[str]) -> str:
    """Return the digest of all that decides what is compiled."""
    version = subprocess.run([*command, "--version"], capture_output=True, check=False).stdout
    parts = [" ".join(command).encode(), version, _processor().encode()]
    parts += [path.read_bytes() for path in sorted(SOURCE.glob("*.[ch]"))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _processor() -> str:
    """Return what the system tells of the processor's kind: a home may be shared by machines of several kinds."""
    names = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features")
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        return "\n".join(line for line in first if line.split("\t")[0].strip(" :") in names)
    return f"{platform.machine()} {platform.processor()}"


def _found(folder: Path, name: str) -> Path | None:
    """Return the library of this name in the cache whose bytes are those that were written."""
    for path in sorted(folder.glob(f"{name}-*.so")):
        if path.stem.partition("-")[2] == _digest(path):
            return path
    return None


def _compiled(folder: Path, name: str, command: Sequence[str]) -> Path:
    """Compile the source into the cache."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        fresh = Path(work) / "kernel.so"
        done = subprocess.run(
            [*command, str(SOURCE / "scan.c"), "-o", str(fresh), "-lpthread"],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Unavailable(f"{command[0]} cannot compile it: {done.stderr.strip()[-500:]}")
        return fresh.rename(folder / f"{name}-{_digest(fresh)}.so")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _alone:
    """Hold a lock on a file, where the file system has locks. Without, each process compiles for itself."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        import fcntl

        self.file = self.path.open("w")
        with suppress(OSError):
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self.file.close()
