"""A real Ray on this machine, for tests that run tasks on it."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slurm import free_ports
from workbench import children, until

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
    options = ["--head", f"--port={port}", f"--num-cpus={cores}", f"--num-gpus={gpus}", "--include-dashboard=false"]
    options += ["--disable-usage-stats"]
    with _started(options, token) as (head, said):
        try:
            address = next(
                (line.partition("--address=")[2].strip(" \n'") for line in said if "--address=" in line), None
            )
            assert address, "".join(said)
            yield {"RAY_ADDRESS": address, **token}
        finally:
            head.terminate()
            head.communicate(timeout=60)


@contextmanager
def ray_node(cores: int = 1, **resources: int) -> Iterator[None]:
    """Add a node to the Ray of the environment, and kill it in the end, as a failure would."""
    options = [f"--address={os.environ['RAY_ADDRESS']}", f"--num-cpus={cores}", f"--resources={json.dumps(resources)}"]
    with _started(options, {}) as (node, said):
        assert "Ray runtime started" in "".join(said), "".join(said)
        try:
            yield
        finally:
            for raylet in children(node.pid, "raylet/raylet "):
                os.kill(raylet, signal.SIGKILL)
            node.communicate(timeout=60)


@contextmanager
def _started(options: list[str], environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start a node, and yield its process and what it has said when it had started."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--object-store-memory=100000000"]
    # With Ray's niceness of 15 a busy machine leaves a task minutes for what takes seconds.
    environ = os.environ | environment | {"RAY_worker_niceness": "0"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([*command, *options], text=True, env=environ, **pipes) as node:
        assert node.stdout is not None
        said: list[str] = []
        until(lambda: said.append(line := node.stdout.readline()) or "--block" in line or not line, "a node of Ray")
        yield node, said
