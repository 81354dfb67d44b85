from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from workbench import ENDLESS, Workbench, begun, until

from titans_lab.executors.devices import cores
from titans_lab.executors.local import LocalExecutor
from titans_lab.store.claims import Holder
from titans_lab.store.folder import Attempt
from titans_lab.training import serve

FAR = replace(Holder.of(os.getpid()), machine="another one")


def test_a_worker_that_was_taken_for_dead_ends_without_a_word(tmp_path: Path):
    folder = Workbench.at(tmp_path).recorded(ENDLESS, "log.every=1")
    job = LocalExecutor().submit(folder, cores()[0])
    until(lambda: begun(folder), "the first line of metrics")
    second = Attempt(folder.path / "attempts" / "2")
    second.claim.take(FAR)
    assert until(job.poll, "the end of the worker") == "the worker ended with exit code 1"
    assert job.attempt.status() is None
    assert "another worker has taken over the run" in job.attempt.log_path.read_text()
    assert second.claim.holder() == FAR
    assert folder.state() == "running"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="a figure of Linux")
def test_the_peak_memory_of_a_run_does_not_count_for_the_next():
    import torch

    from titans_lab.training.speed import peak_bytes

    big = bytearray(300_000_000)
    before = peak_bytes(torch.device("cpu"))
    del big
    assert serve.forget("cpu")
    assert peak_bytes(torch.device("cpu")) < before - 250_000_000


def test_a_peak_leaves_out_the_process_that_started_the_worker():
    code = "import torch; from titans_lab.training.speed import peak_bytes; print(peak_bytes(torch.device('cpu')))"
    small = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    parent = f"import subprocess, sys; held = b'x' * {3 * small}; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    command = [sys.executable, "-c", parent, code]
    peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert peak == pytest.approx(small, rel=0.1)
