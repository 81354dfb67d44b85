"""Runs are mirrored from what the workers write to the store: every step once, the configuration, and the end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from workbench import ENDLESS, Workbench, begun, until

from titans_lab.errors import UserError
from titans_lab.store.store import Store
from titans_lab.tracking import TRACKERS, check_trackers, mirrored
from titans_lab.tracking.mirror import MirroredRun, Orders, mirror


class Notebook:
    """A tracker that writes everything down."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str, Mapping[str, Any]]] = []
        self.points: list[tuple[int, Mapping[str, float]]] = []
        self.ended: list[tuple[str, Mapping[str, float]]] = []

    def begin(self, run_id: str, label: str, config: Mapping[str, Any]) -> Notebook:
        self.begun.append((run_id, label, config))
        return self

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.points.append((step, values))

    def end(self, state: str, results: Mapping[str, float]) -> None:
        self.ended.append((state, results))


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


def orders(*run_ids: str) -> Orders:
    """Orders to follow runs, which have ended."""
    given = Orders()
    given.read(f"{run_id}\n" for run_id in run_ids)
    return given


def test_a_finished_run_is_mirrored_as_the_store_has_it(bench: Workbench):
    bench.sweep().run(lambda _: None)
    [run], notebook = bench.runs(), Notebook()
    mirror(bench.store, {run.run_id: "seed=0"}, notebook, orders(run.run_id))
    [(run_id, label, config)] = notebook.begun
    assert (run_id, label) == (run.run_id, "seed=0")
    assert (config["model.dim"], config["train.tokens"], config["seed"]) == (16, 256, 0)
    rows = bench.ask("select step, loss, lr from metrics order by step")
    assert [(step, values["loss"], values["lr"]) for step, values in notebook.points] == [
        (row["step"], row["loss"], row["lr"]) for row in rows
    ]
    [(state, results)] = notebook.ended
    assert (state, results["loss"]) == ("done", bench.ask("select loss from runs")[0]["loss"])


def test_a_live_run_is_mirrored_line_by_line_and_a_resumed_one_goes_on(bench: Workbench):
    [folder] = bench.folders(ENDLESS)
    [run], notebook = bench.runs(ENDLESS), Notebook()
    sweep = bench.sweep(ENDLESS)
    mirrored_run = MirroredRun(folder, "endless", notebook)
    seen: list[int] = []

    def look(_: object) -> None:
        mirrored_run.look(last=False)
        if begun(folder) and len(notebook.points) > 3 and not seen:
            seen.append(len(notebook.points))
            sweep.stop(run.run_id, "cancelled", "enough")

    sweep.run(look)
    assert notebook.ended == []  # a later sweep may go on
    before = len(notebook.points)
    assert before >= seen[0]
    again = bench.sweep(ENDLESS)

    def more(_: object) -> None:
        mirrored_run.look(last=False)
        if len(notebook.points) > before + 2 and not again.asked:
            again.stop(run.run_id, "cancelled", "enough")

    again.run(more)
    mirrored_run.look(last=True)
    steps = [step for step, _ in notebook.points]
    assert steps == sorted(set(steps))
    assert len(notebook.begun) == len(notebook.ended) == 1
    assert notebook.ended[0][0] == "cancelled"


def test_what_was_trained_before_and_is_trained_again_is_not_mirrored_twice(bench: Workbench):
    bench.sweep().run(lambda _: None)
    [folder], notebook = bench.folders(), Notebook()
    folder.archive()
    MirroredRun(folder, "", notebook).look(last=True)
    assert notebook.begun == notebook.ended == []


def test_a_damaged_line_is_left_out(bench: Workbench):
    bench.sweep().run(lambda _: None)
    [folder], notebook = bench.folders(), Notebook()
    latest = folder.latest()
    assert latest is not None
    lines = latest.metrics_path.read_bytes().splitlines(keepends=True)
    latest.metrics_path.write_bytes(b"{\n" + lines[0].replace(b"loss", b"lost") + lines[1])
    mirror(bench.store, {folder.run_id: ""}, notebook, orders(folder.run_id))
    assert [step for step, _ in notebook.points] == [4]


def test_unknown_and_missing_trackers_are_refused_before_anything_runs(bench: Workbench):
    with pytest.raises(UserError, match="--track tensorbord: is not known; choose tensorboard, wandb"):
        check_trackers(["tensorbord"])
    check_trackers([])
    ended = bench.call("sweep", "--track", "nothing")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--track nothing: is not known" in ended.stderr
    assert not bench.store.root.exists()


def test_a_tracker_that_breaks_is_one_warning(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    [folder] = [bench.recorded()]
    monkeypatch.setitem(TRACKERS, "none", "none")  # the process does not know it, and raises
    with mirrored(Store(bench.store.root), "tiny", bench.runs(), ["none"]) as mirrors:
        mirrors.follow([folder.run_id])
        assert until(lambda: mirrors.processes[0].process.poll() is not None, "the end of the tracker")
        mirrors.follow(["0" * 16])
        assert mirrors.warnings == []
    [warning] = mirrors.warnings
    log = bench.store.tracking_folder("none").with_suffix(".log")
    assert warning == f"--track none: KeyError: 'none'; the store has everything, and {log} what the tracker said"
    assert folder.state() == "pending"


def test_a_command_is_told_of_divergence_failure_and_the_end(bench: Workbench):
    told = bench.root / "told.txt"
    command = f'echo "$TITANS_LAB_EVENT|$TITANS_LAB_STATE|$TITANS_LAB_RUN|$TITANS_LAB_MESSAGE" >> {told}; exit 1'
    overrides = ("grid.train.lr=[1e30, 1e-2]", "data.path=/no/$(touch x)")
    assert bench.call("sweep", "--notify", command, *overrides).returncode == 2  # the study is wrong: nothing ran
    assert not told.exists()
    ended = bench.call("sweep", overrides[0], TITANS_LAB_NOTIFY=command)
    assert ended.returncode == 0
    lines = [line.split("|") for line in told.read_text().splitlines()]
    diverged = next(run for run in bench.runs(overrides[0]) if run.config.train.lr == 1e30)
    assert [line[:3] for line in lines] == [["diverged", "diverged", diverged.run_id], ["end", "", ""]]
    assert lines[1][3] in ("tiny--grid.train.lr-[1e30,1e-2]: 1 done, 1 diverged", lines[1][3])
    assert "1 diverged" in lines[1][3]
    assert "warning: --notify: 2 calls of the command did not succeed" in ended.stderr


def test_a_command_that_hangs_ends_no_sweep(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    from collections import Counter

    from titans_lab import notify

    monkeypatch.setattr(notify, "PATIENCE_SECONDS", 0.2)
    notifier = notify.Notifier("sleep 100", bench.store, "tiny", {})
    notifier.end(Counter({"done": 1}))
    assert notifier.failed == 1
    assert notifier.call is not None
    assert until(lambda: notifier.call and notifier.call.poll() is not None, "the end of the command")
    assert isinstance(notifier.call, subprocess.Popen)
