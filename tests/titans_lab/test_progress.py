from __future__ import annotations

from pathlib import Path

import pytest
from workbench import Workbench, python_job

import titans_lab.progress
from titans_lab.executors.devices import cores
from titans_lab.executors.local import LocalExecutor
from titans_lab.progress import Progress, RunProgress, progress_of
from titans_lab.run import derived
from titans_lab.store.recorder import Recorder
from titans_lab.sweep import Sweep

BEGIN, NOW = 1000.0, 1030.0


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Two of five runs are done, one of them before this sweep; one runs, one has failed, one waits."""
    bench = Workbench.at(tmp_path)
    done, active, failed, waiting, skipped = bench.runs("seeds=5")
    folder = bench.recorded()
    job = python_job(folder.new_attempt(), cores()[0])
    job.process.communicate()
    states = {"ended": {done.run_id: "done", failed.run_id: "failed"}, "skipped": {skipped.run_id: "done"}}
    return Sweep(bench.store, LocalExecutor(), cores(), [waiting], {active.run_id: (active, job)}, **states)


@pytest.fixture
def progress(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> Progress:
    """Of that sweep, begun half a minute ago."""
    clock = iter([BEGIN])
    monkeypatch.setattr(titans_lab.progress, "monotonic", lambda: next(clock, NOW))
    bench = Workbench(sweep.store.root.parent)
    return Progress(bench.runs("seeds=5")[:4])


def log(sweep: Sweep, step: int) -> None:
    [(_, job)] = sweep.active.values()
    Recorder(job.attempt, {}).log(step=step, loss=2.5, tokens_per_second=640.0, step_seconds=0.1)


def test_a_run_before_its_first_line_is_at_step_0(sweep: Sweep, progress: Progress):
    assert progress.running(sweep) == [RunProgress("seed=1", cores()[0].name, 0, 4)]


def test_a_runs_progress_is_its_last_complete_line(sweep: Sweep, progress: Progress):
    log(sweep, 1)
    log(sweep, 3)
    [(run, job)] = sweep.active.values()
    with job.attempt.metrics_path.open("a") as lines:
        lines.write('{"step": 4, "lo')
    found = progress_of(run, job.attempt, "core 7")
    assert found == RunProgress("seed=1", "core 7", 3, 4, 2.5, 640.0, pytest.approx(0.1))
    assert found.fraction == 0.75


def test_runs_are_counted_by_state(sweep: Sweep, progress: Progress):
    assert progress.counts(sweep) == {"done": 2, "failed": 1, "running": 1, "pending": 1}


def test_the_time_left_is_the_work_ahead_at_the_rate_so_far(sweep: Sweep, progress: Progress):
    log(sweep, 2)
    # Of runs that cost the same, one and a half took 30 s, and one and a half are ahead; what failed did no work.
    assert progress.seconds_left(sweep) == pytest.approx(30.0)


def test_there_is_no_time_left_before_there_is_a_rate(sweep: Sweep, progress: Progress):
    sweep.ended.clear()
    assert progress.seconds_left(sweep) is None


def test_runs_count_by_their_flops(sweep: Sweep, progress: Progress):
    [waiting] = sweep.waiting
    assert progress.work[waiting.run_id] == derived.flops(waiting.config)
    progress.work[waiting.run_id] *= 7
    assert progress.seconds_left(sweep) == pytest.approx(8 * 30.0)
