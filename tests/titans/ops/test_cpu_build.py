"""The build of the kernel for processors: once for each machine, where only its user can write, and checked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

import titans
from titans.ops.neural_memory import cpu

ROOT = Path(str(titans.__file__)).parents[1]
USE = """
import torch
from titans.ops import MemoryState, neural_memory

x, gate, w = torch.ones(1, 1, 3, 4), torch.full((1, 1, 3), 0.1), torch.eye(4)[None, None]
y, _ = neural_memory(x, x, x, gate, gate, gate, MemoryState((w,), (w,)), kernel="cpu")
print(float(y.sum()))
"""


def process(cache: Path, **environment: str) -> subprocess.Popen[str]:
    env = os.environ | {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(
        [sys.executable, "-c", USE], env=env, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def used(cache: Path, **environment: str) -> tuple[float, str]:
    """What a process computes with the kernel, and what it warns of."""
    out, err = process(cache, **environment).communicate()
    return float(out), err


def built(cache: Path) -> list[Path]:
    return sorted((cache / "titans" / "cpu").glob("*.so"))


def test_processes_that_start_together_build_it_once(tmp_path):
    together = [process(tmp_path) for _ in range(6)]
    answers = [each.communicate() for each in together]
    assert len({out for out, _ in answers}) == 1
    assert not any(err for _, err in answers)
    assert len(built(tmp_path)) == 1
    left = {path.suffix for path in (tmp_path / "titans" / "cpu").iterdir()}
    assert left == {".so", ".lock"}


#: A compiler that writes down each compilation, and kills the process of the first one, half way, where it is asked to.
COMPILER = """#!/bin/sh
case "$*" in *--version) exec cc --version;; esac
echo "$PPID" >> "$COMPILATIONS"
if [ -n "$KILLS" ] && mkdir "$KILLS" 2> /dev/null; then
    while [ "$1" != -o ]; do shift; done
    echo half > "$2"
    kill -9 "$PPID"
    exit
fi
exec cc "$@"
"""
#: Many processes that are forked when torch is imported, so that they ask for the kernel at the same time.
CROWD = """
import os
import sys
from titans.ops.neural_memory.cpu.build import library

children = []
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if not child:
        library(False).forward
        os._exit(0)
    children.append(child)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@dataclass(frozen=True)
class Crowd:
    """How many processes ended that asked for the kernel at the same time.

    Attributes:
        codes: Their exit codes.
        compilations: The times that the compiler was called.
        err: What they warned of.
    """

    codes: list[int]
    compilations: int
    err: str


def crowd(folder: Path, cache: Path, size: int, kills: bool = False) -> Crowd:
    """Let many processes that have this cache ask for the kernel; the first that compiles may be killed at it."""
    compiler, log = folder / "compiler", folder / "compilations"
    compiler.write_text(COMPILER)
    compiler.chmod(0o700)
    own = {"CC": str(compiler), "COMPILATIONS": str(log), "KILLS": str(folder / "killed") if kills else ""}
    env = os.environ | {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"} | own
    command = [sys.executable, "-c", CROWD, str(size)]
    ended = subprocess.run(command, env=env, cwd=ROOT, text=True, capture_output=True, check=True)
    return Crowd(sorted(map(int, ended.stdout.split())), len(log.read_text().split()), ended.stderr)


def test_sixteen_that_start_together_without_a_cache_compile_once(tmp_path):
    cache = tmp_path / "not" / "there"
    assert crowd(tmp_path, cache, 16) == Crowd([0] * 16, 1, "")
    assert len(built(cache)) == 1
    assert crowd(tmp_path, cache, 16) == Crowd([0] * 16, 1, "")


def test_if_the_one_that_compiles_is_killed_another_compiles(tmp_path):
    assert crowd(tmp_path, tmp_path, 16, kills=True) == Crowd([-signal.SIGKILL, *[0] * 15], 2, "")
    (library,) = built(tmp_path)
    assert library.read_bytes()[:4] == b"\x7fELF"


@pytest.mark.parametrize("kind", ["link", "file", "writable", "foreign"])
def test_where_the_cache_is_not_to_be_trusted_each_compiles_for_itself(tmp_path, kind):
    cache, elsewhere = tmp_path / "titans", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        cache.symlink_to(elsewhere)
    elif kind == "file":
        cache.touch()
    else:
        cache.mkdir()
    if kind == "writable":
        cache.chmod(0o777)
    elif kind == "foreign":
        if os.geteuid():
            pytest.skip("only root can give a folder to somebody else")
        os.chown(cache, 12345, 12345)
    ended = crowd(tmp_path, tmp_path, 4)
    assert (ended.codes, ended.compilations) == ([0] * 4, 4)
    assert ended.err.count("compiled code is not kept for the next process") == 4
    assert not list(elsewhere.iterdir())
    assert kind in ("link", "file") or not list(cache.iterdir())


def test_a_library_whose_bytes_are_not_those_that_were_written_is_built_again(tmp_path):
    right, _ = used(tmp_path)
    (path,) = built(tmp_path)
    path.write_bytes(b"\x7fELF" + path.read_bytes()[5:])
    assert used(tmp_path) == (right, "")
    assert path.read_bytes()[:5] == b"\x7fELF\x02"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [({"PATH": "/nowhere", "CC": ""}, "there is no C compiler"), ({"CC": "false"}, "false cannot compile it")],
    ids=["no compiler", "a compiler that fails"],
)
def test_torch_runs_with_one_warning_where_the_kernel_cannot_be_built(tmp_path, environment, reason):
    right, _ = used(tmp_path)
    answer, warned = used(tmp_path, **environment)
    assert answer == pytest.approx(right)
    assert warned.count("UserWarning") == 1
    assert reason in warned


def test_a_compiler_that_is_no_program_is_named(tmp_path):
    compiler = tmp_path / "compiler"
    compiler.write_bytes(b"no program")
    compiler.chmod(0o700)
    answer, warned = used(tmp_path, CC=str(compiler))
    assert answer == pytest.approx(used(tmp_path)[0])
    assert f"Exec format error: '{compiler}'" in warned


def test_where_cc_is_no_command_the_usual_compiler_is_taken(tmp_path):
    right, _ = used(tmp_path)
    assert used(tmp_path, CC="'gcc") == (right, "")
    assert len(built(tmp_path)) == 1


def test_the_source_is_shipped():
    package = ROOT / "titans"
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["titans"]
    source = [path for path in Path(str(cpu.__file__)).parent.iterdir() if path.suffix in (".c", ".h")]
    assert source
    for path in source:
        assert any(fnmatch(str(path.relative_to(package)), pattern) for pattern in shipped), path
