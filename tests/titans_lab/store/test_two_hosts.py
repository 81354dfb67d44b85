"""Two hosts with clocks two minutes apart share a store: the other one is a namespace of processes and of networks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from workbench import ENDLESS, MINUTES, Workbench, begun, children, environ, run, until

HOST = ("unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc")
#: Put in front of a program: its clock is wrong. (libfaketime 0.9.10 breaks Python's `time.sleep`.)
CLOCK = "import time; clock = time.time; time.time = lambda: clock() + 60 * ({minutes}); "


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    tried = subprocess.run([*HOST, "true"], capture_output=True, check=False) if shutil.which("unshare") else None
    if tried is None or tried.returncode:
        pytest.skip("unshare cannot make namespaces of processes and networks here")
    return Workbench.at(tmp_path)


def ahead(minutes: int, command: list[str]) -> list[str]:
    """The command with a clock that is some minutes ahead."""
    python, option, code, *rest = command
    return [python, option, CLOCK.format(minutes=minutes) + code, *rest]


@pytest.fixture(params=[-2, 0])
def busy(request: pytest.FixtureRequest, bench: Workbench) -> Iterator[Workbench]:
    """A store in which the other host trains an endless run."""
    [folder] = bench.folders(ENDLESS, "log.every=1")
    command = [*HOST, *ahead(request.param, bench.command("work", "--no-verify", ENDLESS, "log.every=1"))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environ(), text=True, stdout=pipe, stderr=pipe) as other:
        try:
            until(lambda: begun(folder) or other.poll(), "the first line of metrics")
            assert other.poll() is None, other.communicate()[1]
            yield bench
        finally:
            for child in children(other.pid, ""):
                os.kill(child, signal.SIGKILL)  # the first process of the namespace, with which all others end
            other.communicate(timeout=MINUTES)


@pytest.mark.parametrize("minutes", [-2, 2])
def test_a_run_of_the_other_host_is_seen_running_and_left_to_it(busy: Workbench, minutes: int):
    [folder] = busy.folders(ENDLESS, "log.every=1")
    latest = folder.latest()
    assert latest is not None
    holder = latest.claim.holder()
    assert holder is not None
    assert holder.alive() is None  # it cannot be looked up from here
    shown = run(ahead(minutes, busy.command("status", ENDLESS, "log.every=1")))
    assert "1 running" in shown.stdout, shown.stderr
    done = run(ahead(minutes, busy.command("work", "--no-verify", ENDLESS, "log.every=1")))
    assert done.returncode == 0, done.stderr
    assert "here: no run; left to others: 1 of 1 run" in done.stderr
    assert len(folder.attempts()) == 1
