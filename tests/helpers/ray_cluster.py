"""A real Ray on this machine, for tests that run tasks on it."""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slurm import free_ports
from workbench import until

#: Set by `.ci/run` in the environment that is made for these tests, where none of them may be skipped.
REQUIRED = "TITANS_RAY"


def require_ray() -> None:
    """Skip a test that needs Ray where it is not installed."""
    if importlib.util.find_spec("ray") is None:
        reason = "Ray is not installed; it comes with the extra `ray`: pip install -e '.[ray]'"
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def ray_cluster(cores: int = 2, gpus: int = 0) -> Iterator[dict[str, str]]:
    """Start a Ray of so many cores, and yield the environment that names it, with its token."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    [port] = free_ports(1)
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}"]
    command += [f"--num-cpus={cores}", f"--num-gpus={gpus}", "--include-dashboard=false", "--disable-usage-stats"]
    command += ["--object-store-memory=100000000"]
    kind = {"RAY_worker_niceness": "0"}  # with Ray's 15 a busy machine leaves a task minutes for what takes seconds
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | token | kind
    ) as head:
        assert head.stdout is not None
        said: list[str] = []
        try:
            until(lambda: said.append(line := head.stdout.readline()) or "--address=" in line or not line, "Ray")
            address = next(
                (line.partition("--address=")[2].strip(" \n'") for line in said if "--address=" in line), None
            )
            assert address, "".join(said)
            yield {"RAY_ADDRESS": address, **token}
        finally:
            head.terminate()
            head.communicate(timeout=60)
