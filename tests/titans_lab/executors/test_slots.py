from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from titans_lab.executors.devices import Device
from titans_lab.executors.slots import DeviceBusy, places, take_slot

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
    found = places([GPU, OTHER], 2)
    assert [(place.index, place.slot) for place in found] == [("GPU-a", 0), ("GPU-b", 0), ("GPU-a", 1), ("GPU-b", 1)]
    assert {place.environment()["CUDA_VISIBLE_DEVICES"] for place in found} == {"GPU-a", "GPU-b"}


def test_a_place_is_taken_once_and_each_device_and_slot_is_one():
    for place in places([GPU, OTHER, Device("cpu", "0", "core 0", "")], 2):
        take_slot(place)
        with pytest.raises(DeviceBusy):
            take_slot(place)


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


def test_without_a_folder_for_the_session_there_is_one_for_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    take_slot(GPU)
    [folder] = tmp_path.iterdir()
    assert folder.name.startswith("titans-lab-")
    assert folder.stat().st_mode & 0o777 == 0o700
