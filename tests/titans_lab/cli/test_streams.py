"""Standard streams that are closed or break."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from workbench import MINUTES, Workbench, children, environ, until


def shell(line: str, bench: Workbench) -> subprocess.CompletedProcess[str]:
    """Run a line of shell, in which $TOOL is the tool."""
    tool = f"{sys.executable} -m titans_lab"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.replace("$TOOL", tool)],
        capture_output=True,
        text=True,
        check=False,
        timeout=MINUTES,
        cwd=bench.root,
        env=environ(TITANS_LAB_STORE=str(bench.store.root)),
    )


@pytest.mark.parametrize("line", ["$TOOL plan tiny.yaml seeds=200 | head -1", "$TOOL query --columns --json | head -1"])
def test_a_reader_that_has_read_enough_is_no_fault(bench: Workbench, line: str):
    done = shell(line, bench)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_sweep_goes_on_when_nobody_reads_what_it_says(bench: Workbench):
    done = shell("$TOOL sweep tiny.yaml seeds=2 --no-verify 2>&1 | head -1; echo ${PIPESTATUS[0]}", bench)
    assert done.stdout.splitlines()[-1] == "0"
    assert [folder.state() for folder in bench.folders("seeds=2")] == ["done", "done"]


def test_following_a_run_ends_with_its_reader(bench: Workbench):
    attempt = bench.recorded().new_attempt()
    attempt.log_path.write_text("line\n" * 3)
    with attempt.claim.kept():
        done = shell(f"$TOOL logs {attempt.folder.run_id} --follow | head -1", bench)
    assert (done.returncode, done.stdout) == (0, "line\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_no_fault(bench: Workbench, closed: str):
    done = shell(f"$TOOL plan tiny.yaml {closed}", bench)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_sweep_needs_no_open_stream(bench: Workbench):
    done = shell("$TOOL sweep tiny.yaml --no-verify <&- >&- 2>&-", bench)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert bench.folders()[0].state() == "done"
    done = shell("$TOOL rm tiny <&-", bench)
    assert (done.returncode, done.stderr) == (2, "titans-lab: rm: nobody is there to be asked; give --yes\n")


def test_a_full_disk_is_told(bench: Workbench):
    done = shell("$TOOL query --columns > /dev/full", bench)
    assert done.returncode == 2
    assert done.stderr == "titans-lab: standard output: cannot be written (No space left on device)\n"


def test_ctrl_c_ends_a_query_at_once(bench: Workbench):
    bench.store.root.mkdir()
    sql = "select levenshtein(repeat('a', 3000000), repeat('b', 3000000))"
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # as a terminal's programs do
    code = f"{listens}; from titans_lab.cli import main; main()"
    command = [sys.executable, "-c", code, "query", sql, "--store", str(bench.store.root)]
    query = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ())
    [child] = until(lambda: children(query.pid, "titans_lab.store.bounded"), "the statement's process")
    time.sleep(2)  # in which the statement begins
    begin = time.monotonic()
    query.send_signal(signal.SIGINT)
    out, err = query.communicate(timeout=MINUTES)
    assert time.monotonic() - begin < 5
    assert (query.returncode, out, err) == (130, b"", b"interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
