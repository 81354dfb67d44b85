"""sweep and status."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from workbench import Workbench

from titans_lab.executors.devices import cores
from titans_lab.store.recorder import Recorder

FAKE_NVIDIA_SMI = "#!/bin/sh\necho '0, GPU-1111, NVIDIA H200'\n"


@pytest.mark.parametrize("verb", ["plan", "sweep", "status"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.memroy.depth=2", "model.memroy.depth: unknown key; did you mean model.memory.depth"),
        ("model.n_heads=3", "model.dim: 16 is not divisible"),
        ("train.lr=fast", 'train.lr: "fast" is text, not a finite number'),
        ("data.path=no-such.txt", "data.path: cannot read no-such.txt"),
    ],
)
def test_a_study_that_is_wrong_ends_with_2_and_one_message_before_anything_is_written(
    cli: Any, bench: Workbench, verb: str, override: str, message: str
):
    code, out, err = cli(verb, bench.study, override, "--store", bench.store.root)
    assert (code, out) == (2, "")
    assert err.startswith("titans-lab: ")
    assert message in err
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert not bench.store.root.exists()


def test_a_wrong_file_is_named_with_its_line(cli: Any, bench: Workbench):
    bench.study.write_text(bench.study.read_text() + "sedes: 3\n")
    code, _, err = cli("sweep", bench.study, "--store", bench.store.root)
    line = len(bench.study.read_text().splitlines())
    assert (code, err) == (2, f"titans-lab: {bench.study}:{line}: sedes: unknown key; did you mean seeds?\n")


@pytest.mark.parametrize("verb", ["plan", "sweep", "work"])
def test_a_run_on_more_devices_than_there_are_is_refused_with_its_place(cli: Any, bench: Workbench, verb: str):
    text = bench.study.read_text().replace("batch_size: 2", "batch_size: 1000")
    bench.study.write_text(text.replace("tokens: 256", "tokens: 64000") + "  speed: {devices: 1000}\n")
    ended = cli(verb, bench.study, "--store", bench.store.root)
    assert (ended.code, ended.out) == (2, "")
    there = "1 device" if len(cores()) == 1 else f"{len(cores())} devices"
    assert f"tiny.yaml:8: speed.devices: 1000 devices for one run, and {there} here (core " in ended.err
    assert ended.err.strip().endswith("which changes no run's id, or use a machine with more")
    assert not bench.store.root.exists()


def test_a_study_that_is_not_there_is_named(cli: Any, tmp_path: Path):
    code, _, err = cli("sweep", tmp_path / "none.yaml", "--store", tmp_path / "results")
    assert code == 2
    assert f"titans-lab: {tmp_path / 'none.yaml'}: no such file" in err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("verb", ["plan", "sweep", "status"])
def test_a_store_that_is_a_file_is_refused(cli: Any, bench: Workbench, verb: str):
    code, _, err = cli(verb, bench.study, "--store", bench.text)
    assert (code, err.splitlines()[-1]) == (
        2,
        f"titans-lab: {bench.text}: not a folder; name the store with --store or TITANS_LAB_STORE",
    )


def test_a_store_that_cannot_be_made_is_named(cli: Any, bench: Workbench):
    code, _, err = cli("sweep", bench.study, "--store", bench.text / "results")
    assert code == 2
    assert err.startswith(f"titans-lab: {bench.text / 'results'}: cannot write there (Not a directory)")


def test_the_store_is_named_by_option_then_environment_then_here(
    cli: Any, bench: Workbench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(bench.root)
    [folder] = bench.folders()
    folder.create({})
    assert "pending" in cli("status", bench.study).out
    Recorder(folder.new_attempt(), {}).commit("done", {})
    assert "done" in cli("status", bench.study).out  # ./results
    monkeypatch.setenv("TITANS_LAB_STORE", str(bench.root / "other"))
    assert "pending" in cli("status", bench.study).out
    assert "done" in cli("status", bench.study, "--store", bench.store.root).out


def test_a_sweep_with_failures_runs_the_rest_and_ends_with_3(swept: Any):
    assert (swept.code, swept.out) == (3, "")
    assert "Traceback" not in swept.words
    assert swept.words.startswith(f"tiny: 4 runs, 4 to run; store {swept.bench.store.root}\n")
    lines = [line for line in swept.words.splitlines() if line.startswith(("done ", "diverged ", "oom "))]
    assert [line.split()[-1] for line in lines] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert "  at step 2  " in next(line for line in lines if line.startswith("diverged"))
    assert "oom: vocab_size=35184372088832 lr=0.01 seed=0: RuntimeError: " in swept.words
    assert swept.words.endswith("2 of 4 runs failed; the same command tries them again\n")


def test_the_end_of_each_run_is_recorded(swept: Any):
    rows = swept.bench.ask(
        "select model.vocab_size = 256 as small, train.lr as lr, state, diverged_step, error from runs"
    )
    found = {(row["small"], row["lr"]): row for row in rows}
    assert {key: row["state"] for key, row in found.items()} == {
        (False, 1e30): "oom",
        (False, 0.01): "oom",
        (True, 1e30): "diverged",
        (True, 0.01): "done",
    }
    assert found[True, 1e30]["diverged_step"] == 2
    assert found[False, 0.01]["error"].startswith("Traceback (most recent call last)")
    assert "can't allocate memory" in found[False, 0.01]["error"]


def test_the_study_is_recorded_with_its_factors(swept: Any):
    variant = "study like 'tiny--%'"  # overrides make it a study of its own
    rows = swept.bench.ask(f"select distinct question, path, overrides from studies where {variant}")
    overrides = json.dumps(list(swept.overrides))
    assert rows == [{"question": "Does it run?", "path": str(swept.bench.study), "overrides": overrides}]
    factors = swept.bench.ask(f"select factors->>'train.lr' as lr from studies where {variant} order by 1")
    assert [float(row["lr"]) for row in factors] == [0.01, 0.01, 1e30, 1e30]


def test_finished_runs_are_not_run_again_by_any_study(cli: Any, swept: Any, tmp_path: Path):
    another = tmp_path / "another.yaml"
    another.write_text(swept.bench.study.read_text())
    root = shutil.copytree(swept.bench.store.root, tmp_path / "copy")  # other tests read the store of one study
    before = {path: path.stat().st_mtime_ns for path in (root / "runs").rglob("*.json*")}
    code, out, err = cli("sweep", another, swept.overrides[1], "--store", root)
    assert (code, out) == (0, "")
    counts = "2 runs: 1 diverged, 1 done"
    assert err == f"another: 2 runs, 0 to run; store {root}\n{counts}\n"
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_the_predicted_time_of_a_run_is_recorded_at_launch(bench: Workbench):
    for seeds in ("seeds=1", "seeds=2"):
        ended = bench.call("sweep", seeds)
        assert ended.returncode == 0, ended.stderr
    first, second = bench.ask("select predicted_seconds, wall_seconds from runs order by seed")
    assert first["predicted_seconds"] is None
    assert second["predicted_seconds"] == pytest.approx(first["wall_seconds"], rel=0.01)


def test_status_has_a_row_for_each_run_with_the_end_of_its_traceback(cli: Any, swept: Any):
    arguments = ("status", swept.bench.study, *swept.overrides, "--store", swept.bench.store.root)
    rows = json.loads(cli(*arguments, "--json").out)
    assert [row["state"] for row in rows] == ["oom", "oom", "diverged", "done"]
    assert "can't allocate memory" in rows[0]["error"]
    assert rows[2]["error"] == "the loss of step 2 is not finite"
    assert rows[2]["train_loss"] is None
    assert rows[3]["loss"] > 0
    assert rows[3]["tokens"] == rows[3]["planned_tokens"] == 256
    table = cli(*arguments).out.splitlines()
    assert "can't allocate memory" in table[2]
    assert table[-1] == "4 runs: 1 done, 1 diverged, 2 oom"
    assert len(list(csv.DictReader(cli(*arguments, "--csv").out.splitlines()))) == 4


def test_status_without_a_study_has_a_row_for_each_study(cli: Any, swept: Any):
    rows = json.loads(cli("status", "--store", swept.bench.store.root, "--json").out)
    [row] = [row for row in rows if row.pop("study").startswith("tiny--")]
    assert row.pop("last_finished")
    assert row == {"runs": 4, "done": 1, "diverged": 1, "running": 0, "failed": 2, "cancelled": 0, "missing": 0}


@pytest.mark.parametrize(("how", "out"), [([], ""), (["--json"], "[]\n"), (["--csv"], "")])
def test_status_of_an_empty_store_says_so(cli: Any, bench: Workbench, how: list[str], out: str):
    bench.store.root.mkdir()
    ended = cli("status", "--store", bench.store.root, *how)
    assert ended == (0, out, f"{bench.store.root}: no study was swept into this store\n")


def test_a_gpu_that_torch_cannot_use_is_warned_about_and_the_cpu_used(bench: Workbench, tmp_path: Path):
    command = tmp_path / "nvidia-smi"
    command.write_text(FAKE_NVIDIA_SMI)
    command.chmod(0o755)
    # CUDA knows no device of this name, on a machine with a GPU either.
    pool = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "GPU-1111"}
    ended = bench.call("sweep", **pool)
    assert ended.returncode == 0, ended.stderr
    warning = "warning: nvidia-smi lists GPU 0 NVIDIA H200, but torch cannot use it"
    assert warning in ended.stderr
    assert "using the CPU" in ended.stderr
    [run] = bench.ask("select state, device from runs")
    assert run == {"state": "done", "device": "cpu"}
