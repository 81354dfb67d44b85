from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from titans_lab.store.lock import LOCK, AlreadyRunning, hold_lock, is_held

HOLD = """
import sys
from pathlib import Path
from titans_lab.store.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

HAND_DOWN = """
import subprocess, sys
from pathlib import Path
from titans_lab.store.lock import hold_lock
with hold_lock(Path(sys.argv[1])) as descriptor:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=[descriptor])
print("held", flush=True)
child.wait()
"""

PROBE = """
import sys
from pathlib import Path
from titans_lab.store.lock import is_held
folder = Path(sys.argv[1])
print("probing", flush=True)
while True:
    is_held(folder)
"""


@contextmanager
def process(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed its first line."""
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        try:
            yield child
        finally:
            child.kill()


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with process(HOLD, tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(AlreadyRunning, match="another process is running it"), hold_lock(tmp_path):
            pass
    with hold_lock(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


def test_the_lock_of_a_killed_holder_is_free(tmp_path: Path) -> None:
    with process(HOLD, tmp_path) as child:
        child.kill()
        child.wait()
        assert not is_held(tmp_path)
        with hold_lock(tmp_path):
            pass


def test_a_child_that_inherits_the_descriptor_keeps_the_lock(tmp_path: Path) -> None:
    with process(HAND_DOWN, tmp_path) as child:
        assert is_held(tmp_path)
        assert child.stdin is not None
        child.stdin.close()
        child.wait(timeout=10)
        assert not is_held(tmp_path)


def test_a_slow_look_makes_a_worker_wait(tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("w") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        timer = threading.Timer(0.1, look.close)
        timer.start()
        with hold_lock(tmp_path):
            assert look.closed
        timer.join()


def test_looking_whether_it_is_held_never_keeps_a_worker_from_it(tmp_path: Path) -> None:
    with hold_lock(tmp_path):
        pass
    with process(PROBE, tmp_path), process(PROBE, tmp_path):
        for _ in range(200):
            with hold_lock(tmp_path):
                assert is_held(tmp_path)
