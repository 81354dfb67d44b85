"""status, logs, cancel and rerun, and which runs they are about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from workbench import ENDLESS, Workbench, begun, run, until

from titans_lab.store.recorder import Recorder
from titans_lab.study.study import load_study
from titans_lab.sweep import record_study


@pytest.fixture
def filled(bench: Workbench) -> Workbench:
    """Runs of three seeds and two rates: done, diverged, failed twice, two not begun."""
    folders = bench.folders("grid.train.lr=[1e-2, 1e-3]", "seeds=3")
    bench.sweep("grid.train.lr=[1e-2, 1e-3]", "seeds=3")
    study = load_study(bench.study, ["grid.train.lr=[1e-2, 1e-3]", "seeds=3"])
    record_study(study.record(bench.runs("grid.train.lr=[1e-2, 1e-3]", "seeds=3")), bench.store)
    for folder, state in zip(folders, ["done", "diverged", "failed", "oom"], strict=False):
        recorder = Recorder(folder.new_attempt(), {"host": "laptop"})
        recorder.log(step=1, tokens=64, loss=3.25)
        recorder.attempt.log_path.write_text("hello\nworld\n")
        recorder.commit(state, {"loss": 2.0, "score": 2.0, "tokens": 256}, f"why\n{state}")
    return bench


def listed(ended: Any) -> list[Any]:
    assert ended.code == 0
    return [(row["state"], row["seed"]) for row in json.loads(ended.out)]


def test_a_filter_lists_the_runs_of_the_store_that_fit(cli: Any, filled: Workbench):
    at = ("--json", "--store", filled.store.root)
    assert sorted(listed(cli("status", "--state", "failed, oom", *at))) == [("failed", 2), ("oom", 0)]
    assert sorted(listed(cli("status", "--where", "train.lr < 5e-3", *at))) == [
        ("oom", 0),
        ("pending", 1),
        ("pending", 2),
    ]
    where = ("--where", "seed == 0 and model.dim == 16 and params > 1", "--state", "done")
    assert listed(cli("status", *where, *at)) == [("done", 0)]
    [row] = json.loads(cli("status", *where, *at).out)
    assert (row["score"], row["tokens"], row["error"], row["host"]) == (2.0, 256, "done", "laptop")
    none = cli("status", "--state", "pruned", "--store", filled.store.root)
    assert (none.code, none.out) == (0, "")
    assert "no such run" in none.err


def test_a_filter_of_a_study(cli: Any, filled: Workbench):
    arguments = (filled.study, "grid.train.lr=[1e-2, 1e-3]", "seeds=3", "--json", "--store", filled.store.root)
    rows = json.loads(cli("status", *arguments, "--state", "failed,oom").out)
    assert [row["state"] for row in rows] == ["failed", "oom"]
    rows = json.loads(cli("status", *arguments, "--where", "train.lr < 5e-3").out)
    assert [row["state"] for row in rows] == ["oom", "pending", "pending"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--state", "fialed", "--state fialed: 'fialed' is not a state; did you mean failed"),
        ("--where", "train.rl > 1", "--where: train.rl: unknown name; did you mean train.lr"),
        ("--where", "__import__('os').system('touch x')", "--where: "),
        ("--where", "seed", '"seed" comes to '),
    ],
)
def test_a_wrong_filter_ends_with_2_and_one_message(cli: Any, filled: Workbench, option: str, value: str, message: str):
    for verb in ("status", "cancel"):
        ended = cli(verb, option, value, "--store", filled.store.root)
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
        assert message in ended.err


def test_a_damaged_commit_is_named_by_status(cli: Any, filled: Workbench):
    folder = filled.folders("grid.train.lr=[1e-2, 1e-3]", "seeds=3")[0]
    folder.status_path.write_bytes(b"{")
    for arguments in ([], [filled.study, "grid.train.lr=[1e-2, 1e-3]", "seeds=3"], ["--state", "lost"]):
        ended = cli("status", *arguments, "--store", filled.store.root)
        assert (ended.code, ended.err.count(f"warning: {folder.status_path}: ")) == (0, 1)


def test_watching_ends_with_the_last_run_and_is_plain_where_nobody_looks(cli: Any, filled: Workbench):
    ended = cli("status", "--watch", "--store", filled.store.root)
    assert ended.code == 0
    assert ended.out.split()[:3] == ["study", "runs", "done"]
    assert "\x1b" not in ended.out


def test_logs_are_what_the_worker_wrote_and_its_metrics(cli: Any, filled: Workbench):
    folder = filled.folders("grid.train.lr=[1e-2, 1e-3]", "seeds=3")[2]
    ended = cli("logs", folder.run_id[:10], "--store", filled.store.root)
    assert ended == (
        0,
        "hello\nworld\nstep 1          64 tokens  loss 3.2500\n",
        f"run {folder.run_id}, attempt 1\nfailed: failed\n",
    )
    folder.new_attempt()
    assert cli("logs", folder.run_id, "--store", filled.store.root).out == ""
    assert cli("logs", folder.run_id, "--attempt", "1", "-f", "--store", filled.store.root).out == ended.out
    assert cli("logs", folder.run_id, "--attempt", "3", "--store", filled.store.root).code == 2


def test_a_run_that_nobody_tried_has_no_logs(cli: Any, filled: Workbench):
    pending = filled.folders("grid.train.lr=[1e-2, 1e-3]", "seeds=3")[5]
    ended = cli("logs", pending.run_id, "--store", filled.store.root)
    assert (ended.code, ended.out) == (2, "")
    assert "has no attempt yet" in ended.err


def test_a_running_run_is_followed_and_cancelled(bench: Workbench, tmp_path: Path):
    sweep = bench.start("sweep", ENDLESS, "--max-parallel", "1")
    [folder] = bench.folders(ENDLESS)
    until(lambda: begun(folder), "its first metrics")
    command = bench.command("logs")
    command.remove(str(bench.study))
    with (tmp_path / "followed").open("w") as out:
        import subprocess

        from workbench import environ

        follower = subprocess.Popen([*command, folder.run_id[:12], "-f"], stdout=out, stderr=out, env=environ())
    until(lambda: "step 3" in (tmp_path / "followed").read_text(), "a line that is followed")
    cancel = bench.command("cancel")
    ended = run(cancel)
    assert (ended.returncode, folder.run_id in ended.stdout) == (0, True), ended.stderr
    assert "asked 1 of 1 run to stop" in ended.stderr
    assert sweep.wait(60) == 3
    assert folder.state() == "cancelled"
    assert follower.wait(30) == 0
    assert "cancelled: titans-lab cancel" in (tmp_path / "followed").read_text()
    assert "1 of 1 run to stop" not in run(cancel).stderr
    sweep.communicate()


def test_cancel_says_what_has_not_begun_and_asks_for_a_name(cli: Any, filled: Workbench):
    ended = cli("cancel", "tiny", "--store", filled.store.root)
    assert "2 have not begun: end the sweep" in ended.err
    assert "asked 0 of 6 runs" in ended.err
    assert cli("cancel", "--store", filled.store.root).code == 2
    assert "begins so" in cli("cancel", "nothing", "--store", filled.store.root).err


def test_a_result_is_made_again_where_it_is_asked_for(bench: Workbench):
    assert bench.call("sweep", "seeds=2", "--max-parallel", "1").returncode == 0
    first, second = bench.folders("seeds=2")
    before = {folder: folder.status() for folder in (first, second)}
    how = ("--no-verify", "--max-parallel=1", "--json")
    again = bench.call("rerun", "seeds=2", "--state=done", "--where", "seed == 1", *how)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == [{"run_id": second.run_id, "was": "done", "state": "done"}]
    assert "1 of 2 runs again" in again.stderr
    assert first.status() == before[first]
    status, old = second.status(), before[second]
    assert status is not None
    assert old is not None
    assert (status.attempt, status.state, status.summary["loss"]) == (2, "done", old.summary["loss"])
    assert (second.path / "attempts/1/archived.json").exists()
    assert bench.ask("select attempt, state from runs where seed = 1") == [{"attempt": 2, "state": "done"}]
    assert bench.ask("from failures") == []


def test_a_rerun_without_matching_runs_prints_one_line(cli: Any, filled: Workbench):
    arguments = ("rerun", filled.study, "grid.train.lr=[1e-2, 1e-3]", "seeds=3", "--store", filled.store.root)
    before = [folder.state() for folder in filled.folders("grid.train.lr=[1e-2, 1e-3]", "seeds=3")]
    ended = cli(*arguments, "--where", "seed > 2")
    states = "failed, oom, timeout, cancelled, pruned, lost where seed > 2"
    assert ended == (0, "", f"tiny: nothing to run again: none of 6 runs is {states}\n")
    assert json.loads(cli(*arguments, "--state", "timeout", "--json").out) == []
    assert [folder.state() for folder in filled.folders("grid.train.lr=[1e-2, 1e-3]", "seeds=3")] == before


def test_a_pruned_run_is_run_again_and_one_that_fails_again_exits_with_3(bench: Workbench):
    [folder] = bench.folders(ENDLESS)
    bench.sweep(ENDLESS)
    Recorder(folder.new_attempt(), {}).commit("pruned", {}, "not promising")
    ended = bench.call("rerun", ENDLESS, "--no-verify", "--timeout", "1s", "--json")
    assert (ended.returncode, "1 of 1 run again" in ended.stderr) == (3, True), ended.stderr
    assert json.loads(ended.stdout) == [{"run_id": folder.run_id, "was": "pruned", "state": "timeout"}]


def test_control_characters_in_a_workers_output_are_escaped(cli: Any, bench: Workbench):
    attempt = bench.recorded().new_attempt()
    attempt.log_path.write_text("red \x1b[31mtext\x07 \x9b2J\tand a tab\n")
    ended = cli("logs", attempt.folder.run_id, "--store", bench.store.root)
    assert "red \\x1b[31mtext\\x07 \\x9b2J\tand a tab" in ended.out
    assert "\x1b" not in ended.out
