from __future__ import annotations

import errno
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from instant import InstantExecutor
from workbench import (
    ENDLESS,
    MINUTES,
    TEXT,
    Workbench,
    begun,
    python_job,
    stop,
    until,
    workers,
)

from titans_lab.errors import UserError
from titans_lab.executors.base import Job
from titans_lab.executors.devices import Device, cores
from titans_lab.executors.local import LocalExecutor
from titans_lab.executors.slots import take_slot
from titans_lab.run.config import RunConfig
from titans_lab.run.run import Run
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.recorder import Recorder
from titans_lab.study.terms import Budget
from titans_lab.sweep import Sweep, record_runs

SHORT_AND_LONG = "grid.train.tokens=[256, 12800]"  # 4 and 200 steps
LONG = "train.tokens=12800"


class Swept(NamedTuple):
    """A sweep of two sound runs and, before them, one whose text changed after it was recorded."""

    bench: Workbench
    sweep: Sweep
    broken: Run
    sound: list[Run]
    looks: list[list[str]]  # the devices at work, turn by turn


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    bench = Workbench.at(tmp_path_factory.mktemp("swept"))
    other = bench.root / "other.txt"
    other.write_bytes(TEXT[::-1])
    [broken], sound = bench.runs(f"data.path={other}"), bench.runs("seeds=2")
    sweep = bench.sweep("seeds=2")
    sweep.waiting[:0] = record_runs([broken], bench.store)
    other.write_bytes(TEXT)
    looks: list[list[str]] = []
    sweep.run(lambda now: looks.append([job.device.index for _, job in now.active.values()]))
    return Swept(bench, sweep, broken, sound, looks)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


def marks(folder: RunFolder) -> dict[Path, int]:
    """When each file of a run was last changed."""
    return {path: path.stat().st_mtime_ns for path in folder.path.rglob("*") if path.name != "lock"}


def test_one_run_that_fails_stops_no_other(swept: Swept):
    assert swept.sweep.ended == {swept.broken.run_id: "failed"} | {run.run_id: "done" for run in swept.sound}
    assert swept.sweep.failed == [swept.broken.run_id]
    assert not swept.sweep.active
    assert not swept.sweep.waiting


def test_a_text_that_is_not_what_was_planned_is_named_in_the_traceback(swept: Swept):
    status = swept.bench.store.run(swept.broken.run_id).status()
    assert status is not None
    assert status.error is not None
    assert status.error.startswith("Traceback")
    last = status.error.splitlines()[-1]
    assert f"data.path: {swept.bench.root / 'other.txt'} is not what it was" in last
    assert "sweep the study again" in last


def test_each_device_has_one_worker_at_a_time(swept: Swept):
    assert max(map(len, swept.looks)) == len(swept.sweep.devices)
    assert all(len(set(devices)) == len(devices) for devices in swept.looks)


def test_workers_say_nothing_that_is_not_an_error(swept: Swept):
    for run in swept.sound:
        [attempt] = swept.bench.store.run(run.run_id).attempts()
        assert (attempt / "log.txt").read_text() == ""


def test_a_worker_on_a_core_uses_one_thread(swept: Swept):
    status = swept.bench.store.run(swept.sound[0].run_id).status()
    assert status is not None
    assert (status.env["device"], status.env["threads"]) == ("cpu", 1)


def test_finished_runs_are_never_run_again(swept: Swept):
    folders = [swept.bench.store.run(run.run_id) for run in swept.sound]
    before = list(map(marks, folders))
    again = swept.bench.sweep("seeds=2", "log.every=1")  # how often it is logged makes no other run
    assert again.waiting == []
    again.run(lambda _: None)
    assert (again.ended, list(map(marks, folders))) == ({}, before)


def test_failed_runs_are_tried_by_the_next_sweep(swept: Swept):
    runs = [*swept.sound, swept.broken]
    assert record_runs(runs, swept.bench.store) == [swept.broken]


def test_the_kill_of_a_worker_is_committed_with_its_lines(bench: Workbench):
    sweep = bench.sweep(ENDLESS)

    def kill(now: Sweep) -> None:
        for _, job in now.active.values():
            if begun(job.attempt.folder) and job.poll() is None:
                os.kill(job.process.pid, signal.SIGKILL)  # type: ignore[attr-defined]

    sweep.run(kill)
    assert list(sweep.ended.values()) == ["failed"]
    [run] = bench.ask("select state, error, host, (select count(*) from metrics) as lines from runs")
    assert run["state"] == "failed"
    assert run["host"]
    assert run["error"].startswith("the worker was killed by SIGKILL")
    assert run["lines"] >= 1


def test_a_worker_that_the_machine_kills_for_its_memory_is_followed_by_one_with_half_the_micro_batch(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
):
    counters = bench.root / "vmstat"
    counters.write_text("pgfault 7\noom_kill 3\n")
    monkeypatch.setattr("titans_lab.environment.VMSTAT", counters)
    sweep = bench.sweep("train.tokens=12800", "train.batch_size=4", "log.every=1", "log.checkpoint_seconds=0")
    sweep.devices = sweep.devices[:1]

    def kill(now: Sweep) -> None:
        for _, job in now.active.values():
            if begun(job.attempt.folder) and job.poll() is None and job.attempt.number < 4:
                counters.write_text(f"oom_kill {3 + job.attempt.number}\n")
                os.kill(job.process.pid, signal.SIGKILL)  # type: ignore[attr-defined]

    sweep.run(kill)
    [(run_id, state)] = sweep.ended.items()
    attempts = [Attempt(path) for path in bench.store.run(run_id).attempts()]
    found = [status for status in (attempt.status() for attempt in attempts) if status]
    assert [status.env["micro_batch"] for status in found] == [4, 2, 1]
    assert [status.env["oom_retries"] for status in found] == [0, 1, 2]
    assert [status.state for status in found] == ["oom"] * 3  # at micro-batch 1 that is how it ends
    assert state == "oom"
    [row] = bench.ask("select state, micro_batch, oom_retries, deterministic, error from runs")
    assert (row["state"], row["micro_batch"], row["oom_retries"]) == ("oom", 1, 2)
    assert "killed by SIGKILL: the machine ran out of memory" in row["error"]

    again = bench.sweep("train.tokens=12800", "train.batch_size=4", "log.every=1", "log.checkpoint_seconds=0")
    again.run(lambda _: None)
    assert again.ended == {run_id: "done"}
    assert bench.ask("select state, micro_batch from runs") == [{"state": "done", "micro_batch": 1}]


def test_an_interrupted_sweep_leaves_no_worker_and_the_next_runs_what_is_missing(bench: Workbench):
    short, long = bench.folders(SHORT_AND_LONG)
    coordinator = bench.start("sweep", SHORT_AND_LONG, "log.every=1", "--max-parallel", "1")
    until(lambda: begun(long), "the second run")
    started = workers(bench.root)
    coordinator.send_signal(signal.SIGINT)
    _, words = coordinator.communicate(timeout=MINUTES)
    assert coordinator.returncode == 130, words
    assert "interrupted; the same command continues from here" in words
    assert started
    assert not workers(bench.root)
    assert (short.state(), long.state()) == ("done", "cancelled")

    before = marks(short)
    sweep = bench.sweep(SHORT_AND_LONG)
    sweep.run(lambda _: None)
    assert sweep.ended == {long.run_id: "done"}
    assert marks(short) == before
    assert len(long.attempts()) == 2


def test_workers_end_when_their_coordinator_is_killed_and_the_next_sweep_completes(bench: Workbench):
    [folder] = bench.folders(LONG)
    coordinator = bench.start("sweep", LONG, "log.every=1")
    until(lambda: begun(folder), "the first line of metrics")
    stop(coordinator.pid)
    coordinator.communicate(timeout=MINUTES)
    until(lambda: not workers(bench.root), "the end of the worker")
    assert folder.state() == "cancelled"

    again = bench.call("sweep", LONG)
    assert again.returncode == 0, again.stderr
    assert (folder.state(), len(folder.attempts())) == ("done", 2)


def test_two_sweeps_of_a_study_at_once_run_each_run_once(bench: Workbench):
    both = [bench.start("sweep", "seeds=3", "--max-parallel", "1") for _ in range(2)]
    words = [coordinator.communicate(timeout=MINUTES)[1] for coordinator in both]
    assert [coordinator.returncode for coordinator in both] == [0, 0], words
    for folder in bench.folders("seeds=3"):
        assert (folder.state(), len(folder.attempts())) == ("done", 1)
    assert "".join(words).count("started") == 3
    assert all(each.count("done ") == 3 for each in words)  # also those that the other one ran


def dead(folder: RunFolder, prepare: Callable[[Recorder], None] = lambda _: None, code: str = "") -> Sweep:
    """A sweep whose worker at `folder` has, without `code`, just ended, after `prepare`."""
    attempt = folder.new_attempt()
    prepare(Recorder(attempt, {}))
    job = python_job(attempt, cores()[0], code)
    if not code:
        job.process.communicate()
    run = Run(folder.run_id, RunConfig(), 0, "", {})
    return Sweep(Workbench(folder.path.parents[2]).store, LocalExecutor(), cores(), [], {folder.run_id: (run, job)})


def test_a_sweep_of_one_run_at_a_time_holds_one_place(bench: Workbench):
    sweep = bench.sweep("seeds=3")
    sweep.most = 1
    first, second = sweep.devices = [Device("cpu", index, "", "") for index in ("test-first", "test-second")]
    held, seen = take_slot(first), set()

    def look(now: Sweep) -> None:
        nonlocal held
        seen.update(job.device for _, job in now.active.values())
        if seen and held:
            os.close(held)
            held = 0

    sweep.run(look)
    assert list(sweep.ended.values()) == ["done"] * 3
    assert seen == {second}


def test_a_spent_budget_starts_nothing_more_and_finishes_what_runs(bench: Workbench):
    sweep = bench.sweep("seeds=3")
    sweep.devices, sweep.budget = sweep.devices[:1], Budget(wall_time=1e-6)
    sweep.run(lambda _: None)
    assert list(sweep.ended.values()) == ["done"]
    assert len(sweep.waiting) == 2


def test_a_run_that_takes_too_long_ends_as_timeout_and_the_others_run(bench: Workbench):
    sweep = bench.sweep("grid.train.tokens=[10000000, 256]", "log.every=1")
    sweep.devices = sweep.devices[:1]
    [long, short] = sweep.waiting

    def look(now: Sweep) -> None:
        if long.run_id in now.active and begun(bench.store.run(long.run_id)):
            sweep.timeout = 0.0
        elif long.run_id in now.ended:
            sweep.timeout = math.inf

    sweep.run(look)
    assert sweep.ended == {long.run_id: "timeout", short.run_id: "done"}
    status = bench.store.run(long.run_id).status()
    assert status is not None
    assert status.error == "took more than the 0 s that --timeout allows"
    assert status.summary["steps"] >= 1
    assert not sweep.broken


def test_a_run_is_pruned_while_others_come_to_wait(bench: Workbench):
    sweep = bench.sweep(ENDLESS, "log.every=1")
    [endless], [later] = sweep.waiting, bench.runs()

    def look(now: Sweep) -> bool:
        if endless.run_id in now.active and begun(bench.store.run(endless.run_id)):
            now.stop(endless.run_id, "pruned", "worse than the median")
        if not now.active and later.run_id not in now.ended:
            now.waiting += record_runs([later], bench.store)
        return later.run_id not in now.ended

    sweep.run(look)
    assert sweep.ended == {endless.run_id: "pruned", later.run_id: "done"}
    sweep.stop(endless.run_id, "pruned", "it has ended: nothing happens")


def test_a_worker_that_does_not_heed_is_ended_as_it_was_asked_to(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("titans_lab.sweep.PATIENCE_SECONDS", 0.1)
    folder = bench.recorded()
    sweep = dead(folder, code="import time; time.sleep(600)")
    sweep.run(lambda now: now.stop(folder.run_id, "timeout", "too slow") if not now.asked else None)
    assert sweep.ended == {folder.run_id: "timeout"}
    assert folder.state() == "timeout"


def test_the_first_failure_ends_the_others_where_that_is_wanted(bench: Workbench):
    waiting = record_runs(bench.runs("seeds=3"), bench.store)
    broken, endless, never = (bench.store.run(run.run_id) for run in waiting)
    sweep = dead(broken)
    job = python_job(endless.new_attempt(), cores()[0], "import time; time.sleep(600)")
    sweep.active[endless.run_id], sweep.waiting, sweep.fail_fast = (waiting[1], job), waiting[2:], True
    sweep.run(lambda _: None)
    assert sweep.ended == {broken.run_id: "failed", endless.run_id: "cancelled"}
    status = endless.status()
    assert status is not None
    assert status.error == "another run failed, and --fail-fast was given"
    assert never.state() == "pending"


def test_a_worker_that_ended_without_a_word_has_failed(bench: Workbench):
    folder = bench.recorded()
    sweep = dead(folder)
    sweep.run(lambda _: None)
    assert sweep.ended == {folder.run_id: "failed"}
    assert folder.state() == "failed"


def test_a_run_that_another_sweep_has_begun_again_stays_with_it(bench: Workbench):
    folder = bench.recorded()
    sweep = dead(folder)
    second = folder.new_attempt()
    with second.claim.kept():

        def look(now: Sweep) -> None:
            if now.waiting and not now.active:
                Recorder(second, {}).commit("done", {})

        sweep.run(look)
    assert (sweep.ended, sweep.skipped) == ({}, {folder.run_id: "done"})
    assert len(folder.attempts()) == 2


def test_a_run_that_was_cancelled_under_another_sweep_is_not_begun_again(bench: Workbench):
    first, second = bench.sweep(ENDLESS, "log.every=1"), bench.sweep(ENDLESS, "log.every=1")
    [run] = second.waiting
    folder = bench.store.run(run.run_id)

    def cancel(_: Sweep) -> None:
        latest = folder.latest()
        if run.run_id in second.others and latest and begun(folder):
            latest.ask_to_stop("cancelled", "titans-lab cancel")

    def other(_: Sweep) -> None:
        if begun(folder) and not second.others:
            second.launch()  # finds that the first one is at it

    first.run(lambda now: (other(now), cancel(now))[0])
    second.run(lambda now: now.stop(run.run_id, "pruned", "it was begun again"))
    assert first.ended == {run.run_id: "cancelled"}
    assert (second.ended, second.skipped) == ({}, {run.run_id: "cancelled"})
    assert first.failed == second.failed == [run.run_id]
    assert len(folder.attempts()) == 1

    third = bench.sweep(ENDLESS, "log.every=1")  # a sweep that begins later was started to have it done
    third.run(lambda now: now.stop(run.run_id, "pruned", "enough") if begun(folder) else None)
    assert third.ended == {run.run_id: "pruned"}
    assert len(folder.attempts()) == 2


def test_a_run_that_just_ended_with_another_sweep_is_begun_again(bench: Workbench):
    sweep = bench.sweep()
    [run] = sweep.waiting
    folder = bench.store.run(run.run_id)
    attempt = folder.new_attempt()
    with attempt.claim.kept():
        sweep.launch()
        assert sweep.others == {run.run_id}
        Recorder(attempt, {}).commit("cancelled", {}, "the sweep was interrupted")
    sweep.run(lambda _: None)
    assert (sweep.ended, sweep.skipped, sweep.others) == ({run.run_id: "done"}, {}, set())
    assert sweep.failed == []


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_workers_commit_counts_even_after_a_later_attempt_has_begun(bench: Workbench, state: str):
    folder = bench.recorded()
    sweep = dead(folder, lambda recorder: recorder.commit(state, {}))
    Recorder(folder.new_attempt(), {}).commit("oom", {})
    sweep.run(lambda _: None)
    assert (sweep.ended, folder.state()) == ({folder.run_id: state}, "oom")


def test_a_run_that_another_attempt_finished_has_not_failed(bench: Workbench):
    folder = bench.recorded()
    sweep = dead(folder)
    Recorder(folder.new_attempt(), {}).commit("done", {})
    sweep.run(lambda _: None)
    assert (sweep.ended, sweep.skipped) == ({}, {folder.run_id: "done"})


def test_what_is_outside_a_runs_identity_may_change_until_it_is_finished(bench: Workbench):
    folder = bench.recorded("log.every=3")
    moved = bench.text.rename(bench.root / "moved.txt")
    assert bench.recorded("log.every=5", f"data.path={moved}") == folder
    config = folder.record()["config"]
    assert (config["data"]["path"], config["log"]["every"]) == (str(moved), 5)
    Recorder(folder.new_attempt(), {}).commit("done", {})
    before = marks(folder)
    bench.recorded("log.every=7", f"data.path={moved}")
    assert marks(folder) == before


class FullDisk:
    """An executor on a disk that has no room for a new attempt."""

    def submit(self, folder: RunFolder, device: Device) -> Job:
        raise OSError(errno.ENOSPC, "No space left on device")

    def rest(self) -> None:
        pass


def test_a_forecast_is_the_one_from_before_the_runs_first_attempt(bench: Workbench):
    [run] = bench.runs()
    folder = bench.store.run(run.run_id)
    for seconds in (None, 20.0, 13.0):
        record_runs([run], bench.store, {run.run_id: seconds} if seconds else None)
        assert folder.record()["predicted_seconds"] == seconds
    folder.new_attempt()
    record_runs([run], bench.store, {run.run_id: 160.0})
    assert folder.record()["predicted_seconds"] == 13.0


def test_a_full_disk_ends_the_sweep_with_one_message(bench: Workbench):
    sweep = bench.sweep()
    sweep.executor = FullDisk()
    with pytest.raises(UserError, match=r"cannot write there \(No space left on device\)"):
        sweep.run(lambda _: None)


def test_a_run_for_which_there_was_no_room_ends_the_sweep(bench: Workbench):
    error = "Traceback\n  in save\nOSError: [Errno 28] No space left on device\n"
    sweep = dead(bench.recorded(), lambda recorder: recorder.commit("failed", {}, error))
    sweep.waiting = record_runs(bench.runs("seeds=[7]"), bench.store)
    with pytest.raises(UserError, match=r"cannot write there \(No space left on device\)"):
        sweep.run(lambda _: None)
    assert len(sweep.waiting) == 1


def test_no_worker_is_left_where_the_end_of_one_cannot_be_recorded(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("titans_lab.sweep.commit_dead", no_room)
    sweep = bench.sweep("seeds=2")
    jobs = []
    for run, code in zip(list(sweep.waiting), ("", "import time; time.sleep(600)"), strict=True):
        job = python_job(sweep.store.run(run.run_id).new_attempt(), cores()[0], code)
        sweep.active[run.run_id] = run, job
        jobs.append(job)
    sweep.waiting.clear()
    with pytest.raises(UserError, match="cannot write there"):
        sweep.run(lambda _: None)
    assert all(job.process.poll() is not None for job in jobs)


def test_a_folder_in_the_place_of_one_runs_log_is_named_and_ends_that_run_alone(
    bench: Workbench, capsys: pytest.CaptureFixture[str]
):
    folder = bench.folders("seeds=2")[0]
    sweep = bench.sweep("seeds=2")
    blocked: list[Path] = []

    def block(_: Sweep) -> None:
        latest = folder.latest()
        if latest and not blocked and not latest.parquet_path("metrics").exists():
            latest.parquet_path("metrics").mkdir()
            blocked.append(latest.parquet_path("metrics"))

    sweep.run(block)
    first, second = bench.runs("seeds=2")
    assert (sweep.ended[first.run_id], sweep.ended[second.run_id]) == ("lost", "done")
    assert f"{blocked[0]}: is a folder where a file belongs" in capsys.readouterr().err


def test_a_run_that_was_moved_into_the_trash_before_it_began_is_run(bench: Workbench):
    first, second = bench.runs("seeds=2")
    executor = InstantExecutor(lambda config, seed: [3.0, 2.0])
    sweep = Sweep(bench.store, executor, cores()[:1], record_runs([first, second], bench.store))

    def remove(now: Sweep) -> None:
        path = bench.store.run(second.run_id).path
        if first.run_id in now.active and path.exists():
            bench.store.set_aside([path], "trash")

    sweep.run(remove)
    assert sweep.ended == {first.run_id: "done", second.run_id: "done"}
    assert bench.store.run(second.run_id).record()["seed"] == second.seed


def test_runs_on_several_devices_wait_for_them_and_are_not_overtaken(bench: Workbench):
    places = [Device("cpu", str(number), f"core {number}", "") for number in range(5)]
    pairs, single = bench.runs("speed.devices=2", "seeds=3"), bench.runs("seeds=[7]")
    waiting = record_runs([*pairs, *single], bench.store)
    executor, looks = InstantExecutor(lambda *_: [3.0, 2.0, 1.0]), list[list[int]]()
    sweep = Sweep(bench.store, executor, places, waiting)

    def look(now: Sweep) -> None:
        looks.append([len(job.device.members) for _, job in now.active.values()])

    sweep.run(look)
    assert executor.started == [run.run_id for run in (*pairs, *single)]
    assert looks[0] == [2, 2]
    assert max(sum(look) for look in looks) <= len(places)
    assert [2, 1] in looks


def test_a_run_on_several_devices_leaves_out_those_that_another_sweep_uses(bench: Workbench):
    places = [Device("cpu", f"9{number}", f"core {number}", "") for number in range(3)]
    held = take_slot(places[1])
    sweep = Sweep(bench.store, LocalExecutor(), places, record_runs(bench.runs("speed.devices=2"), bench.store))
    try:
        assert sweep.launch() == []
        [(_, job)] = sweep.active.values()
        assert job.device.members == (places[0], places[2])
        assert sweep.holders.keys() == {"core 1"}
    finally:
        os.close(held)
        for _, job in sweep.active.values():
            job.terminate()
            job.wait()
