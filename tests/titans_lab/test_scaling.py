from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from titans_lab.errors import UserError
from titans_lab.run.run import Run, record_of
from titans_lab.scaling import scalings
from titans_lab.stats.scaling.law import Law
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.study.study import load_study

LAW = Law(np.log(1.1), (np.log(30.0), np.log(90.0)), (0.3, 0.35))
SIZES = {"model.dim": [16, 32, 64, 128], "train.tokens": [100_000, 300_000, 1_000_000, 3_000_000]}


def a_study(tmp_path: Path, **study: Any) -> list[Run]:
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps({"seeds": 2, "base": {"model": {"variant": "lmm"}}} | study))
    return load_study(path).runs(lambda data: "5e" * 32)


def finish(runs: Sequence[Run], root: Path, factor: Callable[[Run], float] = lambda run: 1.0) -> None:
    """Record the runs with the losses of the law, with little noise."""
    generator = np.random.default_rng(0)
    for run in runs:
        record, tokens = record_of(run, "synthetic"), run.config.train.tokens
        folder = Store(root).run(run.run_id)
        folder.create(record)
        noise = np.exp(generator.normal(0, 0.002))
        (loss,) = factor(run) * noise * LAW.loss(np.array([[record["parameters"], tokens]], float))
        Recorder(folder.new_attempt(), {}).commit("done", {"loss": float(loss), "tokens": tokens}, None)


def test_a_law_in_two_variables_is_found_in_the_store(tmp_path: Path):
    runs = a_study(tmp_path, grid=SIZES)
    finish(runs, tmp_path / "results")
    (found,) = scalings(runs, tmp_path / "results")
    assert (found.group, found.variables, found.runs, found.left_out) == ({}, ("parameters", "tokens"), 32, {})
    for name, value in {"alpha": 0.3, "beta": 0.35, "E": 1.1}.items():
        assert value in found.coefficients[name]
    assert found.coefficients["a"].value + found.coefficients["b"].value == pytest.approx(1)
    assert found.residual < 0.005
    assert found.held_out is not None
    assert abs(found.held_out.error) < 0.02
    assert found.optimum is not None
    assert found.optimum.flops > 10 * 3e6 * 6 * 50_000
    best = np.array([[found.optimum.parameters, found.optimum.tokens]])
    assert LAW.loss(best)[0] in found.optimum.loss
    assert found.optimum.loss.high / found.optimum.loss.low < 1.1
    assert not found.undetermined


@pytest.mark.parametrize("key", SIZES)
def test_the_only_varied_quantity_is_the_laws_variable(tmp_path: Path, key: str):
    runs = a_study(tmp_path, grid={key: SIZES[key]})
    finish(runs, tmp_path / "results")
    (found,) = scalings(runs, tmp_path / "results")
    assert found.variables == (("parameters",) if key == "model.dim" else ("tokens",))
    assert list(found.coefficients) == ["E", "A", "alpha"]
    assert (found.isoflop, found.optimum) == (None, None)
    assert scalings(runs, tmp_path / "results", against="flops")[0].variables == ("flops",)


def test_each_variant_has_its_own_law_and_a_key_may_be_chosen(tmp_path: Path):
    runs = a_study(tmp_path, grid={"model.variant": ["lmm", "transformer"]} | SIZES, base={})
    finish(runs, tmp_path / "results", lambda run: 2.0 if run.config.model.variant == "lmm" else 1.0)
    slow, fast = scalings(runs, tmp_path / "results")
    assert [law.group for law in (slow, fast)] == [{"model.variant": "lmm"}, {"model.variant": "transformer"}]
    assert slow.coefficients["E"].value == pytest.approx(2 * fast.coefficients["E"].value, rel=0.2)
    with pytest.raises(UserError, match=r"--by train\.lr: the study does not vary it; it varies model\.variant"):
        scalings(runs, tmp_path / "results", by="train.lr")


def test_a_refused_fit_names_the_reason_and_the_remedy(tmp_path: Path):
    runs = a_study(tmp_path)
    finish(runs, tmp_path / "results")
    with pytest.raises(
        UserError, match=r"1 distinct values of parameters: a fit needs 4 \(runs: 2 done\); vary the model"
    ):
        scalings(runs, tmp_path / "results")
    with pytest.raises(UserError, match="1 distinct values of tokens"):
        scalings(runs, tmp_path / "results", against="tokens")


def test_runs_without_a_loss_are_counted_and_left_out(tmp_path: Path):
    runs = a_study(tmp_path, grid=SIZES)
    finish(runs[:-3], tmp_path / "results")
    for run in runs[-3:-1]:
        folder = Store(tmp_path / "results").run(run.run_id)
        folder.create(record_of(run, "synthetic"))
        Recorder(folder.new_attempt(), {}).commit("diverged", {"diverged_step": 3}, None)
    (found,) = scalings(runs, tmp_path / "results")
    assert (found.runs, found.left_out) == (29, {"diverged": 2, "pending": 1})


def test_nothing_done_yet(tmp_path: Path):
    (tmp_path / "results").mkdir()
    with pytest.raises(UserError, match=r"0 distinct values of parameters.*32 pending"):
        scalings(a_study(tmp_path, grid=SIZES), tmp_path / "results")


def test_three_sizes_and_budgets_that_say_nothing_are_not_identified(tmp_path: Path):
    runs = a_study(tmp_path, grid={"model.dim": [16, 32, 64], "train.tokens": [100_000, 200_000, 400_000]}, seeds=1)
    noise = dict(zip((run.run_id for run in runs), np.random.default_rng(1).normal(0, 0.05, 9), strict=True))
    finish(runs, tmp_path / "results", lambda run: float(np.exp(noise[run.run_id])))
    with pytest.raises(UserError, match="the law is not identified: with 3 values of parameters and 3 values"):
        scalings(runs, tmp_path / "results")
