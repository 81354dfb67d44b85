"""The interface for scripts and notebooks gives what the command line gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workbench import Workbench

import titans_lab as lab
from titans_lab.study.study import load_study

LIGHT = """
import sys
import titans_lab as lab

assert not {"torch", "duckdb", "pyarrow", "numpy", "yaml"} & {*sys.modules}
assert {*lab.__all__} <= {*dir(lab)}
for name in lab.__all__:
    getattr(lab, name)
assert not {"torch", "typer"} & {*sys.modules}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


def as_dict(bench: Workbench, **more: Any) -> dict[str, Any]:
    """The study of the workbench as a dictionary."""
    return {
        "name": "tiny",
        "base": {
            "model": {
                **{"variant": "lmm", "dim": 16, "n_layers": 1, "n_heads": 2, "persistent_tokens": 2},
                "memory": {"depth": 1, "chunk_size": 8},
            },
            "train": {"tokens": 256, "seq_len": 32, "batch_size": 2},
            "data": {"path": bench.text, "valid_fraction": 0.1},
            "log": {"every": 3},
        },
        **more,
    }


def test_the_import_is_light_and_lists_its_names():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'open_stor'; it has OpenStore"):
        lab.open_stor  # noqa: B018


def test_a_dictionary_is_the_study_of_the_file(bench: Workbench):
    given = {"seeds": 2, "grid": {"train.lr": np.array([1e-3, 1e-2])}}
    ours = lab.load_study(as_dict(bench, **given), ["model.dim=32"])
    theirs = load_study(bench.study, ["seeds=2", "grid.train.lr=[1e-3, 1e-2]", "model.dim=32"])
    assert [point.config for point in ours.points] == [point.config for point in theirs.points]
    assert (ours.name, ours.seeds, ours.variant) == (theirs.name, theirs.seeds, "tiny--model.dim-32")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"base": {}}, "study: name: missing"),
        ({"name": "a", "bas": {}}, "study: bas: unknown key; did you mean base?"),
        ({"name": "a", "base": {"model": {"depth": 2}}}, "study: model.depth: unknown key"),
        ({"name": "a", "base": {"model": {"dim": object()}}}, "is a object; a study has texts"),
        ({"name": "a", "base": {1: 2}}, "the key 1 is no text"),
        ({"name": "../a"}, "study: name"),
    ],
)
def test_wrong_dictionaries_are_named(content: dict[Any, Any], complaint: str):
    with pytest.raises(lab.UserError) as error:
        lab.load_study(content)
    assert complaint in str(error.value)


def test_a_dictionary_that_holds_itself_is_refused():
    content: dict[str, Any] = {"name": "a"}
    content["base"] = content
    with pytest.raises(lab.UserError, match="nested more than"):
        lab.load_study(content)


def test_a_study_is_planned_swept_loaded_and_reported(
    bench: Workbench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TITANS_LAB_STORE", str(bench.store.root))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    store, study = lab.open_store(), lab.load_study(as_dict(bench))
    [planned] = store.plan(study).runs
    assert (planned.run_id, planned.state) == (bench.runs()[0].run_id, "pending")
    bench.store.root.mkdir()
    with pytest.raises(lab.UserError, match="no run of this study"):
        store.report(study)
    outcome = store.sweep(study, verify=False)
    assert outcome.complete
    assert capsys.readouterr().err.endswith("1 done\n")
    [row] = store.runs().to_pylist()
    assert (row["run_id"], row["state"]) == (planned.run_id, "done")
    assert store.metrics(planned.run_id[:6])["step"].to_pylist() == [3, 4]
    assert store.query("select loss from runs where state = $state", state="done").to_pylist() == [
        {"loss": row["loss"]}
    ]
    assert store.sweep(study, progress=False).complete  # verified now, and nothing to train
    assert capsys.readouterr().err == ""
    run = store.load(planned.run_id[:6])
    cli = bench.command("generate", "--prompt", "the ", "--tokens", "5")
    cli[cli.index(str(bench.study))] = planned.run_id
    printed = subprocess.run(cli, capture_output=True, text=True, check=True).stdout
    assert printed.replace("\\x", "") == f"the {run.generate('the ', tokens=5)}\n".replace("\\x", "")
    [diagnosed] = run.inspect("the memory").values()
    assert diagnosed.gradient_norm.shape == (1, 1, 2, 10)
    with pytest.raises(lab.UserError, match="text: is empty"):
        run.inspect("")
    [result] = store.evaluate(planned.run_id, lengths=[512], count=2)
    assert result.share["count"] == 2
    report = store.report(study)
    assert "1 run: 1 done" in report.summary[1]
    assert [type(each).__name__ for each in report.figures.values()] == ["Figure"] * len(report.figures)
    assert "learning-curves" in report.figures
    assert store.report().figures.keys() == report.figures.keys()
    with pytest.raises(lab.UserError, match="loaded already"):
        store.plan(study, ["seeds=2"])


def test_a_damaged_record_is_a_warning(bench: Workbench):
    bench.recorded()
    (bench.store.run("0" * 16).path).mkdir()
    (bench.store.run("0" * 16).record_path).write_text("{")
    with pytest.warns(UserWarning, match="run.json"):
        assert lab.open_store(bench.store.root).runs().num_rows == 1
