"""What every executor has to hold: `EXECUTORS` lists them, each with a place that it can start workers at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workbench import ENDLESS, Workbench, begun, until

from titans_lab.executors.base import Executor
from titans_lab.executors.devices import Device, cores
from titans_lab.executors.local import LocalExecutor
from titans_lab.store.claims import AlreadyRunning

EXECUTORS: list[tuple[Callable[[], Executor], Callable[[], list[Device]]]] = [(LocalExecutor, cores)]


@pytest.fixture(params=EXECUTORS, ids=lambda pair: pair[0].__name__)
def started(request: pytest.FixtureRequest) -> Iterator[tuple[Executor, Device]]:
    make, devices = request.param
    executor = make()
    yield executor, devices()[0]
    executor.rest()


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


def test_a_run_that_is_asked_to_stop_ends_so_and_one_that_is_ended_is_resumed(
    started: tuple[Executor, Device], bench: Workbench
):
    executor, device = started
    folder = bench.recorded(ENDLESS, "log.every=1")
    states = []
    for number in (1, 2):
        job = executor.submit(folder, device)
        assert (job.attempt.number, job.attempt.folder, job.device) == (number, folder, device)
        assert (folder.state(), job.poll()) == ("running", None)
        with pytest.raises(AlreadyRunning):
            executor.submit(folder, cores()[-1])
        until(lambda: begun(folder), "the first line of metrics")
        if number == 1:
            job.attempt.ask_to_stop("pruned", "worse than the median")
            until(job.poll, "the end of the run")
        else:
            job.terminate()
            job.wait()
        states.append(folder.state())
        assert job.poll()
    assert states == ["pruned", "cancelled"]


def test_a_finished_run_is_not_started(started: tuple[Executor, Device], bench: Workbench):
    executor, device = started
    folder = bench.recorded()
    until(executor.submit(folder, device).poll, "the end of the run")
    assert folder.state() == "done"
    executor.rest()
    executor.rest()
    with pytest.raises(AlreadyRunning):
        executor.submit(folder, device)
