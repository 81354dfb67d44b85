from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from titans_lab.report.laws import laws
from titans_lab.report.scaling import sections
from titans_lab.stats.scaling.law import Law

LAW = Law(np.log(1.1), (np.log(30.0), np.log(90.0)), (0.3, 0.35))
DIMS, TOKENS = [16, 32, 64, 128], [100_000, 300_000, 1_000_000, 3_000_000]
SIZES = {"model.dim": DIMS, "train.tokens": TOKENS}


def size(run) -> int:
    """Of a made-up model."""
    return 50 * run.config.model.dim**2


def finish(lab, factor: Callable = lambda run: 1.0):
    """Losses of the law with little noise."""
    generator = np.random.default_rng(0)
    for run in lab.runs:
        costs = {"parameters": size(run), "flops_per_token": 6 * size(run)}
        loss = LAW.loss(np.array([[size(run), run.config.train.tokens]], float))[0] * np.exp(generator.normal(0, 0.002))
        lab.start(run, 3.0, costs=costs).commit(
            "done", {"loss": float(loss * factor(run)), "tokens": run.config.train.tokens}
        )


@pytest.fixture(scope="module")
def drawn(lab_at, tmp_path_factory):
    """Sections of a study in two variables, by name."""
    lab = lab_at(tmp_path_factory.mktemp("scaling"), grid=SIZES, seeds=[0])
    finish(lab)
    return {section.name: section for section in sections(*lab.built)}


def numbers(section) -> dict[str, tuple[str, ...]]:
    """Of the first law's rows, by what they are."""
    return {row.heads[1]: row.cells for row in reversed(section.table.rows)}


def test_the_table_has_the_exponents_with_their_intervals(drawn):
    found = numbers(drawn["scaling"])
    for name, value in {"E": 1.1, "alpha": 0.3, "beta": 0.35, "a": 0.35 / 0.65, "b": 0.3 / 0.65}.items():
        _, low, high, _ = found[name]
        assert float(low) <= value <= float(high)
    assert "ten times the largest budget" in found["loss at 147T FLOPs"][-1]
    assert found["error at the largest budget"][0].endswith("%")


def test_a_scaling_study_is_answered_by_its_law(drawn):
    found = numbers(drawn["scaling"])
    said = {name: f"{value} (95 % CI {low} to {high})" for name, (value, low, high, _) in found.items() if low != "–"}
    words = re.sub(r"(\d\.\d{3,})", lambda number: f"{float(number[1]):.3g}", drawn["scaling"].answer)
    rounded = {name: re.sub(r"\d\.\d+", lambda number: f"{float(number[0]):.3g}", text) for name, text in said.items()}
    assert words == (
        f"The loss falls towards E = {rounded['E']} with parameters^-{rounded['alpha']} and tokens^-{rounded['beta']}."
    )


def test_every_run_is_a_dot_on_the_axes_of_the_law(drawn):
    for name, values in (("parameters", {50 * dim**2 for dim in DIMS}), ("tokens", set(TOKENS))):
        figure = drawn[f"scaling-{name}"].figure
        dots = [trace for trace in figure.traces if trace["mode"] == "markers"]
        assert {x for trace in dots for x in trace["x"]} == values
        assert sum(len(trace["x"]) for trace in dots) == 16
        assert figure.layout["xaxis"]["type"] == figure.layout["yaxis"]["type"] == "log"
        lines = [trace for trace in figure.traces if "customdata" in trace]
        assert len(lines) == 4
        for line in lines:
            assert all(low < y < high for y, (low, high) in zip(line["y"], line["customdata"], strict=True))


def test_the_frontier_is_the_least_loss_of_a_budget(drawn):
    (line,) = [trace for trace in drawn["scaling-flops"].figure.traces if "customdata" in trace]
    flops = line["x"][10]
    sizes = np.geomspace(1e2, 1e9, 4000)
    best = LAW.loss(np.stack([sizes, flops / 6 / sizes], axis=1)).min()
    assert line["y"][10] == pytest.approx(best, rel=0.02)
    assert line["x"][-1] == pytest.approx(10 * 6 * 50 * 128**2 * 3e6, rel=1e-3)


def test_residuals_are_small_where_the_law_is_true(drawn):
    values = [y for trace in drawn["scaling-residuals"].figure.traces for y in trace["y"]]
    assert len(values) == 16
    assert 0 < np.abs(values).max() < 0.01


def test_parabolas_stand_where_a_budget_has_three_sizes(lab):
    pairs = [(dim, round(budget / 300 / dim**2)) for budget in (3e11, 3e12, 3e13) for dim in (32, 48, 64, 96, 128)]
    zipped = {"model.dim": [dim for dim, _ in pairs], "train.tokens": [tokens for _, tokens in pairs]}
    lab = lab(zip=[zipped], seeds=[0])
    finish(lab)
    found = {section.name: section for section in sections(*lab.built)}
    curves = [trace for trace in found["scaling-isoflop"].figure.traces if trace.get("line", {}).get("dash") == "dot"]
    assert len(curves) == 3
    verdict = numbers(found["scaling"]).get("a, by IsoFLOP parabolas")
    assert verdict is None or "agrees with the law" in verdict[-1] or "DISAGREES" in found["scaling-isoflop"].caption


def test_each_variant_has_its_law(lab):
    lab = lab(grid={"model.variant": ["lmm", "transformer"], "train.tokens": TOKENS}, seeds=[0, 1])
    finish(lab, lambda run: 1.2 if run.config.model.variant == "transformer" else 1.0)
    found = laws(*lab.built)
    assert [law.name for law in found.drawn] == ["variant lmm", "variant transformer"]
    assert [law.found.variables for law in found.drawn] == [("tokens",)] * 2
    sections_of = {section.name for section in sections(*lab.built)}
    assert {"scaling", "scaling-tokens", "scaling-flops", "scaling-residuals"} <= sections_of
    assert "scaling-parameters" not in sections_of


def test_too_little_says_why_and_what_varies_no_size_says_nothing(lab):
    lab_of_sizes = lab(grid=SIZES, seeds=[0])
    lab_of_sizes.create(lab_of_sizes.runs[0])
    (only,) = sections(*lab_of_sizes.built)
    assert only.nothing.startswith("No law can be fitted yet: ")


def test_a_study_of_depths_asks_for_no_law(lab):
    lab = lab(grid={"model.memory.depth": [1, 2, 3, 4]})
    for run in lab.runs:
        lab.end(run, "done", 2.0)
    assert list(sections(*lab.built)) == []
