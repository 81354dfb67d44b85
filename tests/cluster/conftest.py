"""A Slurm for the tests of this folder, and a study with a store for each of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_cluster import ray_cluster, require_ray
from slurm import FOLDER, Slurm, remove_abandoned, require_slurm
from workbench import Workbench


@pytest.fixture(scope="session")
def running_slurm() -> Iterator[Slurm]:
    require_slurm()
    remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=FOLDER) as folder, Slurm(Path(folder)).owned():  # short: it names a socket
        cluster = Slurm(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def slurm(running_slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    monkeypatch.setenv("SLURM_CONF", str(running_slurm.config))
    return running_slurm


@pytest.fixture(scope="session")
def running_ray() -> Iterator[dict[str, str]]:
    """Start a Ray of two cores, and return the environment that names it."""
    require_ray()
    with ray_cluster() as environment:
        yield environment


@pytest.fixture
def ray(running_ray: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in running_ray.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)
