"""Profiles of clusters: from the user's configuration file and the command line, and from nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.executors.profiles import read_profile
from titans_lab.executors.ray import RayProfile
from titans_lab.executors.slurm import SlurmProfile

FILE = """
[slurm.default]
partition = "gpu"
time = "4h"
workers = 16
setup = ["module load cuda", "ulimit -c 0"]

[slurm.short]
time = "30m"

[ray.default]
gpus = 0.5
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "titans-lab" / "config.toml"
    path.parent.mkdir()
    path.write_text(FILE)
    return path


def slurm(name: str | None = None, *given: str) -> SlurmProfile:
    return read_profile(SlurmProfile, "slurm", name, given)


def test_the_command_line_overrides_the_file_and_the_file_the_defaults():
    found = slurm(None, "time=2h", "setup=echo one", "setup=echo two")
    assert (found.partition, found.time, found.workers, found.cpus) == ("gpu", 7200.0, 16, 1)
    assert found.setup == ("echo one", "echo two")
    assert slurm("short") == SlurmProfile(time=slurm("short").time)
    assert read_profile(RayProfile, "ray", None, ["cpus=2"]) == RayProfile(gpus=0.5, cpus=2)


def test_no_file_is_the_defaults(config: Path):
    config.unlink()
    assert slurm() == SlurmProfile()


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("long", [], r"no \[slurm.long\] in .*config.toml; it has default, short"),
        (None, ["partitio=x"], "no such key; did you mean partition?"),
        (None, ["time"], "write KEY=VALUE"),
        (None, ["time=2"], "2 has no unit"),
        (None, ["workers=0"], "not a whole number of at least 1"),
        (None, ["workers=many"], "not a whole number of at least 1"),
        (None, ["partition=a\nb"], "not a line of text"),
        (None, ["time=2m", "lead=90s"], "leaves less than 60 s"),
        (None, ["options=exclusive"], "is no option of sbatch"),
        (None, ["options=--exclusive\nrm -r /"], "is no option of sbatch"),
    ],
)
def test_what_cannot_be_is_refused(name: str | None, given: list[str], says: str):
    with pytest.raises(UserError, match=says):
        slurm(name, *given)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("slurm = 3", "slurm: not a TOML table"),
        ("[slurm]\ndefault = 3", "not a TOML table"),
        ("[slurm.default]\nsetup = 3", "not a list of texts"),
        ("[slurm.default]\ntime = 3600", "3600 has no unit"),
        ("[slurm.default]\nworkers = true", "not a whole number"),
        ("[slurm", "cannot be read as TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(config: Path, content: str, says: str):
    config.write_text(content)
    with pytest.raises(UserError, match=says):
        slurm()


@pytest.mark.parametrize("given", ["gpus=-1", "gpus=half", "gpus=inf"])
def test_a_fraction_is_a_number(given: str):
    with pytest.raises(UserError, match="not a number of at least 0"):
        read_profile(RayProfile, "ray", None, [given])
