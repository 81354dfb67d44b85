"""Runs on several devices as workers execute them: checkpoints, signals, and ranks that die. On CPUs and with gloo."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from workbench import ENDLESS, Workbench, alive, begun, children, until

import titans_lab.example_plugin
from titans_lab.executors.devices import Device, cores, joined
from titans_lab.executors.local import LocalExecutor, LocalJob
from titans_lab.run.run import record_of
from titans_lab.store.checkpoints import checkpoints
from titans_lab.store.folder import RunFolder
from titans_lab.training.ending import Ending
from titans_lab.training.followers import Death
from titans_lab.training.probe import measure
from titans_lab.training.ranks import HELD, MEETING, meeting, remove_abandoned
from titans_lab.training.worker import work

CPU = torch.device("cpu")
TWO = joined([Device("cpu", str(number), f"core {number}", "") for number in range(2)])
SIXTEEN = ("train.tokens=1024", "train.batch_size=2", "log.every=1")
ONE, DDP, FSDP = ("speed.devices=1",), ("speed.devices=2",), ("speed.devices=2", "speed.shard=true")

#: What a plugin's layer does on the second rank after two steps: it raises an error with some words, or without any it
#: runs out of memory where it reads two examples.
BREAK = """\
        import torch.distributed as dist
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 2 and dist.is_initialized() and dist.get_rank() == 1:
            if {words!r}:
                raise RuntimeError({words!r})
            if x.shape[0] > 1:
                raise torch.OutOfMemoryError("out of memory")
"""


class AfterSteps(Ending):
    """Asks for an end after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = iter([False] * steps)
        super().__init__()

    @property
    def asked(self) -> bool:  # type: ignore[override]
        return not hasattr(self, "left") or next(self.left, True)

    @asked.setter
    def asked(self, _: bool) -> None: ...


def trained(bench: Workbench, *overrides: str, after: int | None = None) -> RunFolder:
    """Return the run after one attempt in this process, which is the first rank; ended after some steps."""
    folder = bench.recorded(*SIXTEEN, *overrides)
    state = work(folder.new_attempt(), CPU, None if after is None else AfterSteps(after))
    assert state == ("done" if after is None else "cancelled")
    return folder


def curve(folder: RunFolder) -> list[float]:
    latest = folder.latest()
    assert latest is not None
    return [json.loads(line)["loss"] for line in latest.metrics_path.read_text().splitlines()]


def bench_at(path: Path) -> Workbench:
    path.mkdir()
    return Workbench.at(path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    bench = Workbench.at(tmp_path_factory.mktemp("alone"))
    trained(bench, *ONE)
    return bench


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    bench = Workbench.at(tmp_path_factory.mktemp("together"))
    trained(bench, *DDP)
    return bench


def test_a_run_on_two_devices_is_the_run_on_one(alone: Workbench, together: Workbench):
    [one], [two] = (bench.folders(*SIXTEEN) for bench in (alone, together))
    assert one.run_id == two.run_id
    assert curve(two) == pytest.approx(curve(one), rel=1e-5)
    assert sorted(path.name for path in two.path.rglob("*")) == sorted(path.name for path in one.path.rglob("*"))
    [first], [second] = (bench.ask("select * from runs") for bench in (alone, together))
    assert (first["devices"], second["devices"]) == (1, 2)
    assert (first["micro_batch"], second["micro_batch"]) == (2, 1)
    assert second["tokens"] == first["tokens"]
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-5)
    assert second["peak_memory_bytes"] > 1.2 * first["peak_memory_bytes"]
    [row] = together.ask("select tokens_per_second * step_seconds as tokens from metrics where step = 16")
    assert row["tokens"] == pytest.approx(64)  # of both ranks


@pytest.mark.parametrize(("before", "after"), [(DDP, ONE), (ONE, DDP), (FSDP, ONE), (ONE, FSDP)], ids=str)
def test_a_checkpoint_resumes_on_another_number_of_devices(
    alone: Workbench, tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...]
):
    bench = Workbench.at(tmp_path)
    trained(bench, *before, after=5)
    folder = trained(bench, *after)
    assert curve(folder) == pytest.approx(curve(alone.folders(*SIXTEEN)[0]), rel=1e-5)
    [run] = bench.ask("select * from runs")
    assert (run["resumed_from"], run["deterministic"]) == ({"attempt": 1, "step": 5}, False)
    assert run["micro_batch"] == (2 if after == ONE else 1)


def test_a_run_that_resumes_on_as_many_devices_has_the_same_bits(together: Workbench, tmp_path: Path):
    bench = Workbench.at(tmp_path)
    trained(bench, *DDP, after=5)
    folder = trained(bench, *DDP)
    assert curve(folder) == curve(together.folders(*SIXTEEN)[0])
    assert bench.ask("select deterministic from runs") == [{"deterministic": True}]


def test_a_run_on_several_devices_is_timed_before_it_is_run(tmp_path: Path):
    [run] = Workbench.at(tmp_path).runs(*SIXTEEN, *DDP)
    found = measure(record_of(run, ""), CPU)
    assert found["step_seconds"] > 0
    assert found["peak_bytes"] > 1e6


@pytest.fixture
def training(tmp_path: Path) -> Iterator[tuple[LocalJob, int]]:
    """A worker on two devices that has logged its first line, and the process of its second rank."""
    job = LocalExecutor().submit(Workbench.at(tmp_path).recorded(ENDLESS, "log.every=1", *DDP), TWO)
    until(lambda: begun(job.attempt.folder) or job.poll(), "the first line of metrics")
    [follower] = children(job.process.pid, "titans_lab.training.follow")
    yield job, follower
    job.terminate()
    job.wait()


def test_the_first_rank_alone_decides_when_a_run_stops_and_writes_to_the_store(training: tuple[LocalJob, int]):
    job, follower = training
    os.kill(follower, signal.SIGTERM)
    if sys.platform == "linux":
        files = {str(link.resolve()) for link in Path(f"/proc/{follower}/fd").iterdir()}
        store = str(job.attempt.folder.store)
        assert {name for name in files if name.startswith(store)} == {str(job.attempt.log_path)}
    job.attempt.ask_to_stop("pruned", "worse than the median")
    until(job.poll, "the end of the run")
    assert job.attempt.folder.state() == "pruned"
    assert checkpoints(job.attempt.folder)
    assert not alive(follower)


def test_a_rank_that_is_killed_ends_the_run_within_seconds(training: tuple[LocalJob, int]):
    job, follower = training
    os.kill(follower, signal.SIGKILL)
    begin = time.monotonic()
    until(job.poll, "the end of the run")
    assert time.monotonic() - begin < 15  # seconds, of which a busy machine takes most
    status = job.attempt.folder.status()
    assert status is not None
    assert (status.state, status.error) == ("failed", "rank 1 of 2 was killed by SIGKILL")


def test_the_other_ranks_end_with_the_first_and_the_next_run_removes_what_it_left(training: tuple[LocalJob, int]):
    job, follower = training
    [folder] = [path.parent for path in Path(tempfile.gettempdir()).glob(f"{MEETING}*/ranks") if held_by(path, job)]
    remove_abandoned()
    assert folder.exists()
    job.process.kill()
    until(lambda: not alive(follower), "the end of the other rank")
    job.wait()
    assert job.attempt.folder.state() == "lost"
    with meeting(2, False) as (_, place):
        assert not folder.exists()
        assert Path(place).parent.exists()


def held_by(path: Path, job: LocalJob) -> bool:
    """Return whether a worker has the lock beside a file open."""
    links = Path(f"/proc/{job.process.pid}/fd").iterdir()
    return any(link.exists() and link.resolve() == path.with_name(HELD) for link in links)


def broken_plugin(bench: Workbench, words: str) -> Path:
    """Write a plugin whose layer breaks on the second rank: see `BREAK`."""
    path = bench.root / "breaks"
    shutil.copytree(Path(str(titans_lab.example_plugin.__file__)).parent, path)
    (path / "__init__.py").write_text((path / "__init__.py").read_text().replace("example_plugin", "breaks"))
    layer = path / "layer.py"
    begin = "        decay, before = torch.sigmoid"
    assert begin in layer.read_text()
    layer.write_text(layer.read_text().replace(begin, BREAK.format(words=words) + begin))
    return path


needs_two_cores = pytest.mark.skipif(len(cores()) < 2, reason="a sweep has a device slot for each core")


@needs_two_cores
def test_a_rank_that_raises_ends_the_run_with_its_traceback(tmp_path: Path):
    bench = Workbench.at(tmp_path)
    ended = bench.call("sweep", *swept_with(bench, "of all ranks this one"))
    assert ended.returncode == 3, ended.stderr
    [run] = bench.ask("select state, error, attempt from runs")
    assert (run["state"], run["attempt"]) == ("failed", 1)
    first, *_, last = run["error"].splitlines()
    assert (first, last) == ("rank 1 of 2 failed", "RuntimeError: of all ranks this one")
    assert "forward" in run["error"]
    assert "Connection closed" not in run["error"]


@needs_two_cores
def test_memory_that_runs_out_on_a_rank_halves_the_micro_batch(tmp_path: Path):
    bench = Workbench.at(tmp_path)
    ended = bench.call("sweep", *swept_with(bench, ""))
    assert ended.returncode == 0, ended.stderr
    [run] = bench.ask("select state, micro_batch, oom_retries, attempt, devices from runs")
    assert tuple(run.values()) == ("done", 1, 1, 2, 2)


def swept_with(bench: Workbench, words: str) -> list[str]:
    """Return overrides of a run on two devices with a plugin that breaks, of two examples on each."""
    bench.study.write_text(bench.study.read_text() + f"plugins: [{broken_plugin(bench, words)}]\n")
    overrides = ["model.variant=breaks", "train.batch_size=4", "train.tokens=1024", *DDP]
    return ["--allow-plugins", "--max-parallel", "1", *overrides]


def test_the_words_for_a_rank_that_died():
    killed = Death(2, -signal.SIGKILL, "", 1.0, True).failure(4)
    assert str(killed) == "rank 2 of 4 was killed by SIGKILL: the machine ran out of memory"
    assert killed.out_of_memory
    assert str(Death(1, 3, "", 1.0, False).failure(4)) == "rank 1 of 4 ended with exit code 3"
