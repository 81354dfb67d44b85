"""Costs held equal: by a solver that never misses by more than it says, over drawn configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titans.models.config import MemoryConfig, ModelConfig
from titans.models.cost import parameters, state_bytes, train_flops_per_token
from titans_lab.run.config import RunConfig, TrainConfig, build, flatten, plain
from titans_lab.run.derived import SOLVED_BY, TOLERANCE, Hold, alternative, solve
from titans_lab.study.study import Study, load_study

CASES = [Hold(what, (by,)) for what, ways in SOLVED_BY.items() for by in ways]
CASES += [Hold("params", ("dim", "mlp_ratio")), Hold("flops", ("dim", "mlp_ratio"))]


def cost(what: str, config: RunConfig) -> int:
    """The same in other words."""
    model, train = config.model, config.train
    tokens = train.tokens // (train.batch_size * train.seq_len) * train.batch_size * train.seq_len
    return {
        "params": lambda: parameters(model),
        "flops": lambda: train_flops_per_token(model, train.seq_len, train.batch_size) * tokens,
        "state": lambda: state_bytes(model, train.seq_len),
        "tokens": lambda: tokens,
    }[what]()


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    heads = draw(st.sampled_from([1, 2, 4]))
    model = ModelConfig(
        variant=draw(st.sampled_from(["lmm", "mac", "mag", "mal", "transformer"])),
        n_heads=heads,
        dim=2 * heads * draw(st.integers(4, 64)),
        n_layers=draw(st.integers(1, 6)),
        mlp_ratio=draw(st.sampled_from([1.0, 2.5, 3.0])),
        memory=MemoryConfig(depth=draw(st.integers(1, 3)), expansion=draw(st.integers(1, 4))),
    )
    shape = {"batch_size": draw(st.integers(1, 8)), "seq_len": draw(st.sampled_from([64, 100, 256]))}
    return RunConfig(model=model, train=TrainConfig(tokens=draw(st.integers(10**5, 10**7)), **shape))


@pytest.mark.parametrize("hold", CASES, ids=lambda hold: f"{hold.what} by {' '.join(hold.by)}")
@settings(max_examples=25, deadline=None)
@given(base=configs(), arm=configs())
def test_a_solution_is_as_near_as_it_says_and_nothing_near_by_is_nearer(hold: Hold, base: RunConfig, arm: RunConfig):
    target = cost(hold.what, base)
    found = solve(arm, hold, target)
    assert found.deviation == pytest.approx(cost(hold.what, found.config) / target - 1)
    assert found.values.keys() <= {"model.dim", "model.mlp_ratio", "train.tokens"}
    assert found.config == build(RunConfig, dict(flatten(plain(arm))) | found.values)
    for neighbour in neighbours(found.config, hold.by[-1]) if found.values and len(hold.by) == 1 else ():
        assert abs(cost(hold.what, neighbour) / target - 1) >= abs(found.deviation) - 1e-12


def neighbours(config: RunConfig, by: str) -> list[RunConfig]:
    """One step of the ladder up and down."""
    model, train = config.model, config.train
    key, value, step = {
        "dim": ("model.dim", model.dim, 2 * model.n_heads),
        "mlp_ratio": ("model.mlp_ratio", model.hidden / model.dim, 8 / model.dim),
        "tokens": ("train.tokens", train.tokens, train.batch_size * train.seq_len),
    }[by]
    given_values = dict(flatten(plain(config)))
    both = [value + step, value - step] if value > step * 1.5 else [value + step]
    return [build(RunConfig, given_values | {key: each}) for each in both]


@settings(max_examples=25, deadline=None)
@given(base=configs(), arm=configs())
def test_tokens_always_match_flops_within_the_grain_of_a_step(base: RunConfig, arm: RunConfig):
    target = cost("flops", base)
    found = solve(arm, Hold("flops", ("tokens",)), target)
    step = cost("flops", arm) / arm.train.steps / target
    assert abs(found.deviation) <= max(TOLERANCE, step / 2 + 1e-9) or found.config.train.steps == 1


def test_an_arm_that_is_near_enough_stays_as_it_is():
    config = RunConfig()
    found = solve(config, Hold("params", ("dim",)), int(parameters(config.model) * 1.005))
    assert (found.config, found.values) == (config, {})
    assert found.holds


def test_a_cost_that_one_key_cannot_match_is_matched_by_another():
    mac, target = RunConfig(), parameters(ModelConfig(variant="lmm"))
    hold = Hold("params", ("dim",))
    assert not solve(mac, hold, target).holds
    other = alternative(mac, hold, target)
    assert other
    assert solve(mac, other, target).holds


def study(tmp_path: Path, text: str) -> Study:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return load_study(path)


def costs(found: Study, what: str) -> list[int]:
    return [cost(what, point.config) for point in found.points]


def test_all_arms_have_the_parameters_of_the_base(tmp_path: Path):
    found = study(
        tmp_path,
        "base: {model: {variant: lmm}}\ngrid: {model.variant: [lmm, mac, mag, transformer]}\n"
        "hold: {what: params, by: mlp_ratio}\n",
    )
    target = parameters(ModelConfig(variant="lmm"))
    assert costs(found, "params") == pytest.approx([target] * 4, rel=TOLERANCE)
    assert not found.points[0].solved
    assert found.points[1].solved["model.mlp_ratio"] == found.points[1].config.model.mlp_ratio
    assert abs(found.points[1].deviation or 0) <= TOLERANCE


def test_solved_values_are_part_of_the_identity(tmp_path: Path):
    text = "grid: {model.variant: [lmm, mac]}\n"
    free, held = (
        study(tmp_path, text + hold).runs(lambda _: "d") for hold in ("", "hold: {what: params, by: mlp_ratio}\n")
    )
    assert [one.run_id == other.run_id for one, other in zip(free, held, strict=True)] == [False, True]


def test_the_baseline_of_the_same_size_is_the_measure(tmp_path: Path):
    found = study(
        tmp_path,
        "grid:\n  model.n_layers: [1, 3]\n  model.variant: [transformer, mag]\n"
        "baseline: {model.variant: transformer}\nhold: {what: params, by: mlp_ratio}\n",
    )
    small, small_mag, large, large_mag = costs(found, "params")
    assert [point.baseline for point in found.points] == [True, False, True, False]
    assert small_mag == pytest.approx(small, rel=TOLERANCE)
    assert large_mag == pytest.approx(large, rel=TOLERANCE)
    assert large > 1.5 * small


def test_equal_flops_by_tokens(tmp_path: Path):
    found = study(
        tmp_path,
        "grid: {model.memory.depth: [1, 2, 4]}\nhold: {what: flops, by: tokens}\nbaseline: {model.memory.depth: 1}",
    )
    assert costs(found, "flops") == pytest.approx([costs(found, "flops")[0]] * 3, rel=TOLERANCE)
    tokens = [point.config.train.tokens for point in found.points]
    assert tokens == sorted(tokens, reverse=True)
    assert tokens[0] > tokens[-1]


def test_tokens_are_held_where_a_preset_brings_its_own(tmp_path: Path):
    found = study(
        tmp_path,
        "base: {train: {tokens: 100_000}}\nstudies: {a: {}, b: {base: {train: {batch_size: 3}}}}\nhold: tokens\n",
    )
    assert costs(found, "tokens") == pytest.approx([costs(found, "tokens")[0]] * 2, rel=TOLERANCE)


def test_where_sees_the_solved_width(tmp_path: Path):
    text = "grid: {model.variant: [transformer, mag]}\nhold: {what: params, by: [dim, mlp_ratio]}\n"
    every: list[Any] = [point.config.model.dim for point in study(tmp_path, text).points]
    kept = study(tmp_path, text + f"where: model.dim == {min(every)}\n")
    assert {point.config.model.dim for point in kept.points} == {min(every)}
