"""The build of the kernel for processors: once for each machine, where only its user can write, and checked."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
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


def test_the_source_is_shipped():
    package = ROOT / "titans"
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["titans"]
    source = [path for path in Path(str(cpu.__file__)).parent.iterdir() if path.suffix in (".c", ".h")]
    assert source
    for path in source:
        assert any(fnmatch(str(path.relative_to(package)), pattern) for pattern in shipped), path
