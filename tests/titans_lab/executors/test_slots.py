from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.executors.devices import Device, joined, on_distinct_devices
from titans_lab.executors.slots import DeviceBusy, device_slots, stale_runtime_folder, take_slot, taken_slots

GPU, OTHER = (Device("cuda", f"GPU-{name}", f"GPU {name}", "H200") for name in "ab")

HOLD = """
import os, subprocess, sys
from titans_lab.executors.devices import Device
from titans_lab.executors.slots import take_slot
slot = take_slot(Device("cuda", "GPU-a", "", ""))
child = subprocess.Popen([sys.executable, "-c", "print('held', flush=True); input()"], pass_fds=[slot])
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_devices_are_filled_in_turn():
    found = device_slots([GPU, OTHER], 2)
    assert [(slot.index, slot.slot) for slot in found] == [("GPU-a", 0), ("GPU-b", 0), ("GPU-a", 1), ("GPU-b", 1)]
    assert {slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in found} == {"GPU-a", "GPU-b"}


def test_a_place_is_taken_once_and_each_device_and_slot_is_one():
    for slot in device_slots([GPU, OTHER, Device("cpu", "0", "core 0", "")], 2):
        take_slot(slot)
        with pytest.raises(DeviceBusy, match=rf"^pid {os.getpid()}: \S"):  # who holds it
            take_slot(slot)


def test_slots_on_several_devices_are_taken_together_or_not_at_all():
    both = joined([GPU, OTHER])
    assert both.members == (GPU, OTHER)
    assert both.environment()["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert (GPU.label, both.label) == ("GPU a", "GPU a and 1 more")
    with taken_slots(OTHER), pytest.raises(DeviceBusy) as busy, taken_slots(both):
        pass
    assert busy.value.slot == OTHER
    with taken_slots(both) as descriptors:
        assert len(descriptors) == 2
        with pytest.raises(DeviceBusy), taken_slots(GPU):
            pass


def test_a_run_takes_one_slot_of_a_device():
    assert on_distinct_devices(device_slots([GPU, OTHER], 2)[1:]) == device_slots([GPU, OTHER], 2)[1:3]


def test_a_worker_keeps_its_place_after_the_coordinator_was_killed():
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as coordinator:
        assert coordinator.stdout is not None
        assert coordinator.stdin is not None
        coordinator.stdout.readline()
        coordinator.kill()
        coordinator.wait()
        with pytest.raises(DeviceBusy):
            take_slot(GPU)
        coordinator.stdin.close()
        coordinator.stdout.read()  # to the end of the worker
        take_slot(GPU)


def test_slots_without_a_runtime_folder_are_in_a_private_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    take_slot(GPU)
    [folder] = tmp_path.iterdir()
    assert folder.name.startswith("titans-lab-")
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("given", ["gone/1000", "a file"])
def test_a_stale_folder_of_the_session_is_passed_over(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a file").touch()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    assert stale_runtime_folder() is None
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / given))
    take_slot(GPU)
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == [f"titans-lab-{os.getuid()}"]
    assert "XDG_RUNTIME_DIR" in (stale_runtime_folder() or "")


@pytest.mark.parametrize("how", ["link", "file", "another's"])
def test_a_folder_that_is_not_the_users_own_is_refused(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"titans-lab-{os.getuid()}"
    (tmp_path / "victim").mkdir()
    if how == "link":
        folder.symlink_to(tmp_path / "victim")
    elif how == "file":
        folder.touch()
    else:
        folder.mkdir()
        uid = os.getuid()
        folder.rename(tmp_path / f"titans-lab-{uid + 1}")
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(UserError, match="not a folder of this user; remove it, or set TMPDIR to a folder of yours"):
        take_slot(GPU)
    assert list((tmp_path / "victim").iterdir()) == []


def test_a_link_below_the_folder_of_the_session_is_refused_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "victim").mkdir()
    (tmp_path / "titans-lab").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match="not a folder of this user; remove it, or set XDG_RUNTIME_DIR to a folder"):
        take_slot(GPU)
    assert list((tmp_path / "victim").iterdir()) == []


def test_a_folder_that_others_can_read_is_closed_and_a_slot_is_no_link(tmp_path: Path):
    folder = tmp_path / "titans-lab"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    take_slot(GPU)
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "cuda-GPU-b-0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="symbolic link"):
        take_slot(OTHER)
    assert not (tmp_path / "elsewhere").exists()
