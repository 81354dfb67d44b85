"""What each key of a study means, by the runs that it comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from titans_lab.errors import UserError
from titans_lab.run.run import Run
from titans_lab.study.study import Study, load_study


@pytest.fixture
def study(tmp_path: Path) -> Any:
    """study("grid: ..."): the study of a text; further files by name."""

    def make(text: str, *overrides: str, **files: str) -> Study:
        for name, content in files.items():
            (tmp_path / f"{name}.yaml").write_text(content)
        path = tmp_path / "x.yaml"
        path.write_text(text)
        return load_study(path, overrides)

    return make


def runs(study: Study) -> list[Run]:
    return study.runs(lambda data: "a" * 64)


def labels(study: Study) -> list[str]:
    return [run.label.removesuffix(" seed=0") for run in runs(study)]


def test_lists_of_a_zip_go_together(study: Any):
    found = study("zip:\n  model.dim: [64, 128, 128]\n  model.n_heads: [2, 4, 8]\ngrid:\n  train.lr: [1e-3, 1e-2]\n")
    assert [(p.config.train.lr, p.config.model.dim, p.config.model.n_heads) for p in found.points] == [
        (lr, dim, heads) for lr in (1e-3, 1e-2) for dim, heads in ((64, 2), (128, 4), (128, 8))
    ]
    assert labels(found)[1] == "lr=0.001 dim=128 n_heads=4"


def test_several_groups_of_a_zip_are_combined(study: Any):
    found = study(
        "zip:\n- {model.dim: [64, 128], model.n_heads: [2, 4]}\n- {train.lr: [1e-3, 1e-2], train.batch_size: [2, 4]}\n"
    )
    assert len(found.points) == 4


def test_a_logspace_is_even_in_its_logarithm_and_keeps_its_ends(study: Any):
    found = study("grid:\n  train.lr: {logspace: [1e-4, 1e-2, 5]}\n  model.memory.depth: {logspace: [1, 4, 3]}\n")
    assert found.grid["train.lr"] == (1e-4, 0.000316228, 1e-3, 0.00316228, 1e-2)
    assert found.grid["model.memory.depth"] == (1, 2, 4)
    assert study("grid:\n  train.lr: {logspace: [1e-2, 1e-4, 3]}\n").grid["train.lr"] == (1e-2, 1e-3, 1e-4)


def test_a_condition_gives_values_and_lists_only_where_it_holds(study: Any):
    found = study(
        "grid: {model.variant: [lmm, mac]}\n"
        "when:\n"
        "  model.variant == 'mac':\n    grid: {model.segment_len: [32, 64]}\n    base: {train: {lr: 1e-3}}\n"
        "  model.segment_len == 32:\n    base: {train: {batch_size: 2}}\n"
    )
    assert labels(found) == ["variant=lmm", "variant=mac segment_len=32", "variant=mac segment_len=64"]
    assert [(p.config.train.lr, p.config.train.batch_size) for p in found.points] == [(6e-3, 4), (1e-3, 2), (1e-3, 4)]


def test_an_ablation_has_the_base_once_and_an_arm_for_each_respect(study: Any):
    found = study(
        "base: {model: {variant: lmm}}\n"
        "ablate:\n  model.memory.momentum: false\n  model.memory.depth: [1, 3]\n"
        "  plain: {model.conv_size: 1, model.qk_l2_norm: false}\n"
    )
    assert labels(found) == ["base", "memory.momentum=false", "memory.depth=1", "memory.depth=3", "plain"]
    models = [point.config.model for point in found.points]
    assert [m.memory.momentum for m in models] == [True, False, True, True, True]
    assert (models[4].conv_size, models[4].qk_l2_norm, models[4].memory.depth) == (1, False, 2)
    assert [point.baseline for point in found.points] == [True, False, False, False, False]


def test_an_ablation_is_made_at_every_point_of_a_grid(study: Any):
    found = study("grid: {model.variant: [lmm, mag]}\nablate: {model.memory.momentum: false}\n")
    assert labels(found) == [f"variant={v} {arm}" for v in ("lmm", "mag") for arm in ("base", "memory.momentum=false")]


def test_substudies_stand_on_what_is_beside_them(study: Any):
    found = study(
        "base: {train: {lr: 1e-3}}\nseeds: 2\n"
        "studies:\n"
        "  attention: {base: {model: {variant: transformer}}}\n"
        "  memory:\n    base: {model: {variant: lmm}, train: {lr: 2e-3}}\n    grid: {model.memory.depth: [1, 2]}\n"
        "baseline: attention\n"
    )
    assert [run.label for run in runs(found)] == [
        f"{arm} seed={seed}"
        for arm in ("attention", "memory memory.depth=1", "memory memory.depth=2")
        for seed in (0, 1)
    ]
    assert [point.config.train.lr for point in found.points] == [1e-3, 2e-3, 2e-3]
    assert [point.baseline for point in found.points] == [True, False, False]
    assert runs(found)[2].factors == {"study": "memory", "model.memory.depth": 1}


def test_a_grid_beside_substudies_is_theirs_too(study: Any):
    found = study(
        "grid: {train.lr: [1e-3, 1e-2]}\nstudies:\n  a:\n  b: {grid: {train.lr: [3e-3]}, ablate: {model.dim: 64}}\n"
    )
    assert labels(found) == ["a lr=0.001", "a lr=0.01", "b lr=0.003 base", "b lr=0.003 dim=64"]


def test_exclusions_and_conditions_leave_the_others(study: Any):
    grid = "grid: {model.variant: [lmm, mac, transformer], model.memory.depth: [1, 2, 3]}\n"
    found = study(
        grid + "exclude:\n- {model.variant: [transformer], model.memory.depth: [2, 3]}\n"
        "- model.variant == 'mac' and model.memory.depth == 3\nwhere: [model.memory.depth < 3, params > 0]\n"
    )
    assert labels(found) == [
        "variant=lmm memory.depth=1", "variant=lmm memory.depth=2", "variant=mac memory.depth=1",
        "variant=mac memory.depth=2", "variant=transformer memory.depth=1",
    ]  # fmt: skip


def test_an_excluded_combination_need_not_be_valid(study: Any):
    found = study("grid: {model.dim: [96, 128], model.n_heads: [3, 4]}\nexclude: {model.dim: 128, model.n_heads: 3}\n")
    assert len(found.points) == 3


def test_derived_quantities_choose_too(study: Any):
    found = study("grid: {model.dim: [64, 128, 256]}\nwhere: 1e5 < params < 1e6 and steps > 10 and state_bytes > 0\n")
    assert [point.config.model.dim for point in found.points] == [64, 128]


def test_an_exclusion_that_does_nothing_is_warned_about(study: Any):
    [warning] = study("grid: {model.memory.depth: [1, 2]}\nexclude: {model.memory.depth: 3}\n").warnings
    assert "x.yaml:2: exclude: no combination has these values" in warning


def test_a_base_may_be_in_another_file_and_be_changed(study: Any):
    common = "model: {variant: lmm, dim: 64}\ntrain: {lr: 1e-3}\n"
    whole = "question: q\nseeds: 7\npreset: paper-v1\nbase: common.yaml\ngrid: {train.lr: [1, 2]}\n"
    [point] = study("base: common.yaml\n", common=common).points
    assert (point.config.model.variant, point.config.model.dim) == ("lmm", 64)
    found = study("base:\n- other.yaml\n- model: {dim: 128}\n", common=common, other=whole)
    assert (found.presets, found.seeds, len(found.points)) == (("paper-v1",), (0,), 1)
    assert (found.base["model.dim"], found.base["train.lr"]) == (128, 1e-3)


def test_a_file_of_a_base_is_found_from_the_study_and_to_blame_for_its_lines(study: Any, tmp_path: Path):
    with pytest.raises(UserError) as caught:
        study("base: common.yaml\n", common="train: {lr: 1}\nmodel:\n  dim: wide\n")
    assert str(caught.value) == f'{tmp_path}/common.yaml:3: model.dim: "wide" is text, not an integer'


def test_a_shuffled_order_hangs_on_the_name_alone(study: Any):
    text = "grid: {train.lr: {logspace: [1e-4, 1e-2, 9]}}\nseeds: 3\n"
    listed, shuffled, named = study(text), study(text, "order=shuffled"), study("name: y\norder: shuffled\n" + text)
    order = [run.run_id for run in shuffled.launch_order(runs(shuffled))]
    assert [run.run_id for run in listed.launch_order(runs(listed))] == [run.run_id for run in runs(listed)]
    assert sorted(order) == sorted(run.run_id for run in runs(listed))
    assert order not in ([run.run_id for run in runs(listed)], [run.run_id for run in named.launch_order(runs(named))])
    assert order == [run.run_id for run in shuffled.launch_order(reversed(runs(shuffled)))]


def test_terms_are_read(study: Any):
    found = study("budget: {wall_time: 2h, device_time: 30m}\nmetric: {name: loss, taken: best}\nhold: tokens\n")
    assert (found.budget.wall_time, found.budget.device_time) == (7200, 1800)
    assert (found.metric.name, found.metric.taken, found.metric.column) == ("loss", "best", "valid_loss")
    assert study("question: q\n").metric is None


def test_overrides_reach_the_terms(study: Any):
    text = "question: q\nhold: tokens\ngrid: {model.memory.depth: [1, 2]}\n"
    found = study(text, "budget.wall_time=2h", "hold.what=params", "hold.by=mlp_ratio", "where=model.memory.depth > 1")
    assert (found.budget.wall_time, found.hold.what, found.hold.by) == (7200, "params", ("mlp_ratio",))
    assert len(found.points) == 1
    assert study(text, "+model.dim=64").base["model.dim"] == 64
    assert labels(study("question: q\n", "ablate.model.memory.depth=[1]")) == ["base", "memory.depth=1"]


@pytest.mark.parametrize(
    ("text", "override", "message"),
    [
        ("base: {model: {dim: 64}}", "+model.dim=32", "+model.dim: the study sets it already at "),
        ("ablate: {model.dim: 64}", "model.dim=32", "model.dim: it varies at "),
        ("studies: {a: {base: {model: {dim: 64}}}}", "model.dim=32", "model.dim: a part of the study sets it at "),
        ("question: q", "budget.wall_time=2", "budget.wall_time: 2 has no unit; write 2s, 2m or 2h"),
        ("question: q", "where=params(", 'where: "params(" is not an expression'),
    ],
)
def test_an_override_that_would_be_hidden_or_wrong_is_refused(study: Any, text: str, override: str, message: str):
    with pytest.raises(UserError) as caught:
        study(text, override)
    assert str(caught.value).startswith(f"override {override}: {message}")


def test_ten_thousand_runs_differ(study: Any):
    found = study(
        "grid:\n  train.lr: {logspace: [1e-4, 1e-2, 100]}\n  train.weight_decay: {logspace: [1e-3, 1, 10]}\nseeds: 10\n"
    )
    assert len({run.run_id for run in runs(found)}) == 10_000
