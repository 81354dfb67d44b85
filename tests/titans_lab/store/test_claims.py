from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from titans_lab.store import claims
from titans_lab.store.claims import NOBODY, AlreadyRunning, Claim, Holder, Watch
from titans_lab.store.folder import Attempt, RunFolder

ME = Holder.of(os.getpid())
FAR = replace(ME, host="far", machine="another one")

HOLD = """
import sys
from pathlib import Path
from titans_lab.store.folder import Attempt
with Attempt(Path(sys.argv[1])).claim.kept():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def keeper(attempt: Attempt) -> Iterator[subprocess.Popen[str]]:
    """A process that keeps the claim."""
    command = [sys.executable, "-c", HOLD, str(attempt.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        try:
            yield child
        finally:
            child.kill()


@pytest.fixture
def folder(new_run: Callable[..., RunFolder]) -> RunFolder:
    return new_run("a1")


class Clock:
    """Stands still until it is told to go on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(lease=60.0, clock=clock)


def test_a_process_is_alive_until_it_ends():
    with subprocess.Popen(["sleep", "600"]) as child:
        holder = Holder.of(child.pid)
        assert holder.alive() is True
        child.send_signal(signal.SIGSTOP)
        assert holder.alive() is True
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and its parent has not noticed
        assert holder.alive() is False
    assert holder.alive() is False


def test_an_id_that_was_given_again_is_another_process():
    assert ME.alive() is True
    assert replace(ME, begun="123").alive() is False


def test_a_process_on_another_machine_is_neither_alive_nor_dead():
    assert FAR.alive() is None
    assert NOBODY.alive() is False


def test_one_of_many_wins_and_no_file_is_left_beside(folder: RunFolder):
    wins = 0
    for _ in range(20):
        with suppress(AlreadyRunning):
            Claim(folder.path / "attempts" / "1" / "claim").take(ME)
            wins += 1
    assert wins == 1
    assert [path.name for path in (folder.path / "attempts").rglob("*")] == ["1", "claim"]


def test_a_link_whose_answer_was_lost_is_won(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    """NFS sends a request again where no answer came, and the second says that the name is there."""
    link = os.link

    def twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)
    assert folder.new_attempt(ME).number == 1


def test_a_run_is_with_its_worker_until_that_dies(folder: RunFolder):
    attempt = folder.new_attempt(ME)
    assert folder.state() == "running"
    with keeper(attempt) as child:
        assert attempt.claim.holder() == Holder.of(child.pid)
        assert folder.state() == "running"
        with pytest.raises(AlreadyRunning, match="another process is running it"):
            folder.new_attempt(ME)
        child.send_signal(signal.SIGSTOP)
        assert folder.state() == "running"
        child.kill()
        child.wait()
        assert folder.state() == "lost"
        assert folder.new_attempt(ME).number == 2
        assert attempt.superseded()


def test_a_worker_that_ends_in_order_lets_go(folder: RunFolder):
    attempt = folder.new_attempt(ME)
    with attempt.claim.kept():
        assert folder.state() == "running"
    assert folder.state() == "lost"
    assert folder.new_attempt(ME).number == 2


def test_a_finished_run_is_never_begun_again(ended_run: Callable[..., RunFolder]):
    with pytest.raises(AlreadyRunning):
        ended_run("a2").new_attempt()


def test_a_folder_that_a_kill_left_empty_is_claimed(folder: RunFolder):
    (folder.path / "attempts" / "1").mkdir(parents=True)
    assert folder.new_attempt(ME).number == 1


def test_a_claim_from_elsewhere_is_over_when_its_counter_stood_still(folder: RunFolder, clock: Clock, watch: Watch):
    attempt = folder.new_attempt(FAR)
    for _ in range(61):
        assert not watch.over(attempt.claim)
        clock.now += 1
    assert watch.over(attempt.claim)
    assert folder.new_attempt(ME, watch).number == 2


def test_a_counter_that_moves_keeps_a_claim(folder: RunFolder, clock: Clock, watch: Watch):
    attempt = folder.new_attempt(FAR)
    for beat in range(30):
        attempt.claim.write(FAR, beat)
        assert not watch.over(attempt.claim)
        clock.now += 20
    with pytest.raises(AlreadyRunning):
        folder.new_attempt(ME, watch)


def test_who_slept_or_jumped_in_time_watches_anew(folder: RunFolder, clock: Clock, watch: Watch):
    attempt = folder.new_attempt(FAR)
    assert not watch.over(attempt.claim)
    clock.now += 1e6
    assert not watch.over(attempt.claim)


def test_the_time_of_day_takes_no_claim_away(folder: RunFolder, watch: Watch, monkeypatch: pytest.MonkeyPatch):
    attempt = folder.new_attempt(FAR)
    watch.over(attempt.claim)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert not watch.over(attempt.claim)
    assert folder.state() == "running"
    os.utime(attempt.claim.path, (0, 0))
    assert folder.state() == "lost"  # by the file's age: a guess, for people; nobody acts on it
    with pytest.raises(AlreadyRunning):
        folder.new_attempt(ME, watch)


@pytest.mark.parametrize("content", [b"", b"{", b'"noise"', b"\xff\x00", b'{"pid": 1}\n0\n'])
def test_a_damaged_claim_is_over_when_it_stood_still(folder: RunFolder, clock: Clock, watch: Watch, content: bytes):
    claim = folder.new_attempt(ME).claim
    claim.path.write_bytes(content)
    assert folder.state() == "running"
    assert not watch.over(claim)
    clock.now += 29
    assert not watch.over(claim)
    clock.now += 29
    assert not watch.over(claim)
    clock.now += 29
    assert watch.over(claim)


@pytest.mark.parametrize("inside", ["claim", "nowhere"])
def test_a_link_without_a_file_in_the_place_of_a_claim_is_no_claim(folder: RunFolder, watch: Watch, inside: str):
    claim = folder.new_attempt(ME).claim
    claim.path.unlink()
    claim.path.symlink_to(inside)
    assert folder.state() == "lost"
    assert folder.new_attempt(ME, watch).number == 2


def test_a_kept_claim_beats(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    claim = folder.new_attempt().claim
    seen = set()
    with claim.kept():
        end = time.monotonic() + 60
        while len(seen) < 3 and time.monotonic() < end:
            seen.add(claim.read())
        assert claim.holder() == ME
    assert len(seen) == 3
    assert {len(content) for content in seen} == {len(claims.content_of(ME, 0))}
