from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest
from workbench import MINUTES, Workbench, environ, python_job

import titans_lab.cli.watch
from titans_lab.cli.watch import Lines, watching, words
from titans_lab.executors.devices import cores
from titans_lab.executors.local import LocalExecutor
from titans_lab.progress import Progress, RunProgress
from titans_lab.store.recorder import Recorder
from titans_lab.sweep import Sweep

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[(?:\d+;)*3[0-7]m")


def on_a_terminal(command: list[str], **environment: str) -> tuple[int, str]:
    """The exit code of a command and all that it wrote to its terminal of 120 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 30, 120, 0, 0))
    child = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ(TERM="xterm-256color", **environment)
    )
    os.close(theirs)
    written = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    return child.wait(MINUTES), written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so where the other side has been closed
        return b""


def screen(written: str) -> list[str]:
    """The lines that a terminal shows in the end."""
    lines, row, column = [""], 0, 0
    for part in re.findall(rf"{CODES.pattern}|[\r\n]|[^\x1b\r\n]+", written):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\r":
            column = 0
        elif part.startswith("\x1b"):
            row -= int(part[2:-1] or 1) if part.endswith("A") else 0
            lines[row] = "" if part.endswith("2K") else lines[row]
        else:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


def test_a_terminal_shows_the_running_run_and_is_left_as_it_was(bench: Workbench):
    code, written = on_a_terminal(bench.command("sweep", "train.tokens=12800", "log.every=1"))
    plain = CODES.sub("", written)
    assert code == 0
    assert re.search(r"seed=0 .* [1-9]\d*/200  loss \d\.\d{4}  [\d.]+K? tokens/s  \S+ left  core 0", plain)
    assert "1 running   about " in plain
    assert COLOURS.search(written)
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l") >= 0  # the cursor is there again
    head, *_, counts = lines = screen(written)
    assert counts == "1 run: 1 done"
    assert head.startswith("tiny: 1 run, 1 to run")
    started = lines.index("started   seed=0  on core 0")
    done = lines[started + 1]
    assert re.fullmatch(r"done      seed=0  loss \d\.\d{4}  [\d.]+K? tokens/s  \d+s  \[1/1\]", done)


def test_no_colour_where_none_is_wanted(bench: Workbench):
    code, written = on_a_terminal(bench.command("sweep", "train.lr=1e30"), NO_COLOR="1")
    assert code == 0
    assert "diverged  seed=0  at step 2" in CODES.sub("", written)
    assert not COLOURS.search(written)


def test_no_codes_where_nobody_looks(swept: Any):
    assert "\x1b" not in swept.words
    assert re.search(r"^started   vocab_size=256 lr=0.01 seed=0  on core \d$", swept.words, re.MULTILINE)


@pytest.fixture
def sweep(bench: Workbench) -> Sweep:
    """One run that runs, one that waits."""
    active, waiting = bench.runs("seeds=2")
    job = python_job(bench.recorded().new_attempt(), cores()[0])
    job.process.communicate()
    return Sweep(bench.store, LocalExecutor(), cores(), [waiting], {active.run_id: (active, job)})


def lines_of(sweep: Sweep, every: float | None) -> tuple[Lines, list[str]]:
    told: list[str] = []
    runs = [*(run for run, _ in sweep.active.values()), *sweep.waiting]
    return Lines(Progress(runs), lambda line, _: told.append(line), every), told


def test_a_start_and_an_end_are_told_once(sweep: Sweep):
    lines, told = lines_of(sweep, None)
    lines.look(sweep)
    lines.look(sweep)
    assert told == [f"started   seed=0  on {cores()[0].name}"]
    [(run_id, (_, job))] = sweep.active.items()
    Recorder(job.attempt, {}).commit("done", {"loss": 2.34567, "tokens_per_second": 1234.0, "wall_seconds": 65.2})
    sweep.active.clear()
    sweep.ended[run_id] = "done"
    sweep.skipped[sweep.waiting.pop().run_id] = "diverged"
    lines.look(sweep)
    lines.look(sweep)
    assert told[1:] == ["done      seed=0  loss 2.3457  1.23K tokens/s  1m05s  [1/2]", "diverged  seed=1    [2/2]"]


def test_a_line_of_a_long_name_fits_a_terminal(bench: Workbench):
    keys = (
        "model.memory.momentum=[true, false]",
        "model.memory.forgetting=[true, false]",
        "train.max_grad_norm=[1, 2]",
    )
    runs = bench.runs(*(f"grid.{key}" for key in (*keys, "model.memory.depth=[1, 2]")))
    job = python_job(bench.recorded().new_attempt(), cores()[0])
    job.process.communicate()
    sweep = Sweep(bench.store, LocalExecutor(), cores(), runs[1:], {runs[0].run_id: (runs[0], job)})
    told: list[str] = []
    progress = Progress(runs)
    for columns in (80, None):
        Lines(progress, lambda line, _: told.append(line), None, columns).look(sweep)
    fitted, whole = told
    assert len(whole) > 80
    assert len(fitted) == 80
    assert fitted.startswith(whole[:40])
    assert fitted.endswith(f"…  on {cores()[0].name}")


@pytest.mark.parametrize(("every", "count"), [(1e-9, 2), (3600.0, 0), (None, 0)])
def test_running_runs_are_told_every_so_often(sweep: Sweep, every: float | None, count: int):
    lines, told = lines_of(sweep, every)
    lines.look(sweep)
    lines.look(sweep)
    assert told[1:] == ["running   seed=0  starting"] * count


def test_who_reads_a_file_is_told_how_runs_go_on(
    sweep: Sweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(titans_lab.cli.watch, "PLAIN_SECONDS", 1e-9)
    with watching([run for run, _ in sweep.active.values()]) as look:
        look(sweep)
    assert capsys.readouterr().err == f"started   seed=0  on {cores()[0].name}\nrunning   seed=0  starting\n"


def test_words_say_how_far_a_run_is():
    run = RunProgress("depth=2 seed=0", "core 0", 20, 400, 2.34567, 12345.6, 125.0)
    assert words(run) == "depth=2 seed=0  step 20/400  loss 2.3457  12.3K tokens/s  2m05s left"
