"""verify, and what a sweep verifies before it starts anything."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from workbench import MINUTES, Workbench, alive, children, until

import titans
import titans_lab
from titans_lab.environment import processor
from titans_lab.executors.devices import cores
from titans_lab.store.files import read_json
from titans_lab.verify.process import missing
from titans_lab.verify.subjects import PRECISIONS, of_runs

CHECKS = ["operator", "model", "streaming", "causality"]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that start from here run a copy of the code, whose fast form forgets half of what it should."""
    for package in (titans, titans_lab):
        folder = Path(str(package.__file__)).parent
        shutil.copytree(folder, tmp_path / "code" / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "code" / "titans" / "ops" / "neural_memory" / "cpu" / "gates.h"
    text = source.read_text()
    assert text.count("1 - g.alpha[i]") == 1
    source.write_text(text.replace("1 - g.alpha[i]", "1 - g.alpha[i] / 2"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))


def records(bench: Workbench) -> list[dict[str, Any]]:
    return [read_json(path) for path in (bench.store.root / "verified").glob("*.json")]


def test_verify_shows_each_check_and_keeps_what_has_passed(cli: Any, bench: Workbench):
    ended = cli("verify", bench.study, "grid.model.variant=[lmm, transformer]", "--store", bench.store.root)
    assert (ended.code, ended.err) == (0, f"verifying 2 models on {processor()}\n")
    device, _, head, _, *rows, _, last = ended.out.splitlines()
    assert device == processor()
    assert head.split("  ")[0] == "configuration"
    expected = [("variant=lmm", check) for check in CHECKS] + [("variant=transformer", check) for check in CHECKS[1:]]
    assert [row.split()[:3] for row in rows] == [[*pair, p] for pair in expected for p in PRECISIONS]
    assert {row.split()[-1] for row in rows} == {"ok"}
    assert [row.split()[3:] for row in rows if "causality" in row] == [["0", "0", "ok"]] * 6
    assert last.startswith("21 checks, all within tolerance, ")
    assert "Each configuration is checked on a small model with all of its switches: one layer of each" in last
    kept = records(bench)
    assert len(kept) == 6
    assert all(row["worst"] <= row["tolerance"] for record in kept for row in record["rows"])
    assert {record["precision"] for record in kept} == set(PRECISIONS)
    assert kept[0]["device"] == ["cpu", processor()]
    assert {record["kernel"] for record in kept} == {"cpu", "auto"}
    assert kept[0]["versions"] == titans.VERSIONS
    asked = of_runs(bench.runs("grid.model.variant=[lmm, transformer]"), "cpu")
    assert missing(asked, cores()[0], bench.store) == []
    for path in (bench.store.root / "verified").glob("*.json"):
        path.write_text("{")  # what cannot be read is not known
    assert missing(asked, cores()[0], bench.store) == asked


def test_verify_of_what_is_wrong_ends_with_3_and_keeps_only_what_is_right(cli: Any, bench: Workbench, broken: None):
    arguments = ("verify", bench.study, "grid.model.memory.forgetting=[true, false]", "--store", bench.store.root)
    ended = cli(*arguments, "--json", "--seed", "5")
    rows = json.loads(ended.out)
    assert ended.code == 3
    assert {row["seed"] for row in rows} == {5}
    wrong = {(row["configuration"], row["check"], row["precision"]) for row in rows if not row["ok"]}
    forgetting = "memory.forgetting=true"
    assert wrong >= {(forgetting, "operator", p) for p in PRECISIONS} | {(forgetting, "model", "float64")}
    assert {name for name, _, _ in wrong} == {forgetting}
    assert all((row["worst"] <= row["tolerance"]) == row["ok"] and row["seconds"] > 0 for row in rows)
    assert {row["configuration"] for record in records(bench) for row in record["rows"]} == {"memory.forgetting=false"}


def test_a_sweep_starts_nothing_where_a_formula_is_wrong(cli: Any, bench: Workbench, broken: None):
    code, out, err = cli("sweep", bench.study, "--store", bench.store.root)
    assert code == 3
    assert [line.split()[1:3] for line in out.splitlines()[4:]][:2] == [
        ["operator", "float64"],
        ["operator", "float32"],
    ]
    assert " ok" not in out
    assert "out of tolerance\nnothing was started; " in err
    assert [folder.state() for folder in bench.folders()] == ["pending"]
    assert not records(bench)


def test_a_sweep_verifies_once(cli: Any, bench: Workbench):
    arguments = ("sweep", bench.study, "train.precision=bfloat16", "--store", bench.store.root)
    first = cli(*arguments, "model.memory.alpha_bias=-3.0")
    assert (first.code, first.out) == (0, "")
    assert f"\nverifying 1 model on {processor()}\n8 checks, all within tolerance\nstarted " in first.err
    assert {record["precision"] for record in records(bench)} == {"float64", "bfloat16"}
    again = cli(*arguments, "model.memory.alpha_bias=-4.0", "model.n_layers=2")
    assert (again.code, "verifying" in again.err, again.err.count("started ")) == (0, False, 1)


def test_a_norm_under_autocast_says_nothing(bench: Workbench):
    assert bench.call("verify").stderr == f"verifying 1 model on {processor()}\n"


def test_an_interrupted_verification_leaves_no_process(bench: Workbench):
    arguments = bench.command("verify", "grid.model.memory.depth=[1, 2, 3, 4, 5, 6, 7, 8]")
    with subprocess.Popen(arguments, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as command:
        [child] = until(lambda: children(command.pid, "titans_lab.verify"), "the process of the checks")
        os.kill(command.pid, signal.SIGINT)
        _, err = command.communicate(timeout=MINUTES)
    assert command.returncode == 130
    assert err.endswith("interrupted\n")
    until(lambda: not alive(child), "the end of that process")


def test_checks_that_break_off_are_a_fault_with_their_traceback(bench: Workbench, broken: None, tmp_path: Path):
    (tmp_path / "code" / "titans" / "ops" / "neural_memory" / "naive.py").write_text("1 / 0\n")
    ended = bench.call("verify")
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr
    assert "titans_lab.verify ended with exit code 1 before its last answer" in ended.stderr
    assert not records(bench)


@pytest.mark.parametrize("override", ["model.memroy.depth=2", "model.n_heads=3", "data.path=no-such.txt"])
def test_verify_of_a_study_that_is_wrong_ends_with_2(cli: Any, bench: Workbench, override: str):
    code, out, err = cli("verify", bench.study, override, "--store", bench.store.root)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("titans-lab: ")
    assert not bench.store.root.exists()


def test_csv_has_every_digit(cli: Any, bench: Workbench):
    arguments = ("verify", bench.study, "model.variant=transformer", "--store", bench.store.root)
    rows = list(csv.DictReader(cli(*arguments, "--csv").out.splitlines()))
    assert [row["check"] for row in rows] == [check for check in CHECKS[1:] for _ in PRECISIONS]
    assert all(float(row["worst"]) <= float(row["tolerance"]) for row in rows)


@pytest.mark.parametrize("verb", ["sweep", "verify"])
def test_a_kernel_that_the_device_does_not_have_is_refused_before_anything_is_written(
    cli: Any, bench: Workbench, verb: str
):
    code, _, err = cli(verb, bench.study, "speed.kernel=triton", "--store", bench.store.root)
    assert code == 2
    assert err.strip().endswith("speed.kernel: triton is for a GPU, and torch can use none here; set it to auto or cpu")
    assert not bench.store.root.exists()
