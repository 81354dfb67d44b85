from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.run.identity import run_id
from titans_lab.run.run import Run
from titans_lab.study.study import Study, load_study

TEXT = """
question: Does a deeper memory help?
base:
  model: {variant: mag, memory: {momentum: false}}
  train: {lr: 1}
grid:
  train.batch_size: [2, 1]
  model.memory.depth: [1, 3]
seeds: [7, 2]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "depth.yaml"
    path.write_text(TEXT)
    return path


def written(path: Path, text: str, *overrides: str) -> Study:
    path.write_text(text)
    return load_study(path, overrides)


def runs(study: Study) -> list[Run]:
    return study.runs(lambda data: "a" * 64)


def test_a_study_holds_what_the_file_says(path: Path) -> None:
    study = load_study(path)
    assert (study.name, study.question, study.expect) == ("depth", "Does a deeper memory help?", "")
    assert study.base == {"model.variant": "mag", "model.memory.momentum": False, "train.lr": 1.0}
    assert study.grid == {"train.batch_size": (2, 1), "model.memory.depth": (1, 3)}
    assert study.seeds == (7, 2)


def test_a_study_may_say_nothing_but_a_question(path: Path) -> None:
    [run] = runs(written(path, "question: q\n"))
    assert (run.config, run.seed, run.factors, run.label) == (RunConfig(), 0, {}, "seed=0")


def test_runs_are_in_the_order_written_with_seeds_innermost(path: Path) -> None:
    assert [run.label for run in runs(load_study(path))] == [
        f"batch_size={size} memory.depth={depth} seed={seed}" for size in (2, 1) for depth in (1, 3) for seed in (7, 2)
    ]


def test_a_run_has_the_base_and_its_factors(path: Path) -> None:
    run = runs(load_study(path))[-1]
    assert run.factors == {"train.batch_size": 1, "model.memory.depth": 3}
    assert (run.config.train.batch_size, run.config.model.memory.depth, run.config.train.lr) == (1, 3, 1.0)
    assert run.config.model.variant == "mag"
    assert not run.config.model.memory.momentum
    assert run.run_id == run_id(run.config, run.seed, run.data_hash)


def test_a_value_of_the_base_need_not_go_with_the_defaults_of_what_varies(path: Path) -> None:
    study = written(path, "base: {model: {n_heads: 3}}\ngrid: {model.dim: [96, 192]}\n")
    assert [run.config.model.head_dim for run in runs(study)] == [32, 64]


def test_the_grid_goes_before_the_base(path: Path) -> None:
    [run] = runs(written(path, "base: {train: {lr: 1}}\ngrid: {train.lr: [2]}\n"))
    assert run.config.train.lr == 2.0


def test_combinations_that_are_the_same_run_are_kept_once(path: Path) -> None:
    study = written(path, "grid:\n  model.variant: [lmm, transformer]\n  model.memory.depth: [2, 3]\n")
    assert [run.label for run in runs(study)] == [
        "variant=lmm memory.depth=2 seed=0",
        "variant=lmm memory.depth=3 seed=0",
        "variant=transformer memory.depth=2 seed=0",
    ]
    assert study.combinations == 4


def test_each_data_section_is_hashed_once(path: Path) -> None:
    asked: list[str | None] = []

    def data_hash(config: RunConfig) -> str:
        asked.append(config.data.path)
        return str(config.data.path)

    study = written(path, "grid:\n  data.path: [a, b]\n  train.lr: [1e-3, 1e-4]\nseeds: 3\n")
    found = study.runs(data_hash)
    assert asked == ["a", "b"]
    assert [run.data_hash for run in found] == ["a"] * 6 + ["b"] * 6
    assert len({run.run_id for run in found}) == 12


def test_overrides_take_the_place_of_what_the_file_says(path: Path) -> None:
    overrides = [
        "train.lr=1e-4",
        "data.path=../x.gz",
        "seeds=2",
        "grid.train.batch_size=[4]",
        "grid.model.n_heads=[1, 2]",
    ]
    study = load_study(path, overrides)
    assert study.base["train.lr"] == 1e-4
    assert study.base["data.path"] == "../x.gz"
    assert study.seeds == (0, 1)
    assert list(study.grid.items()) == [
        ("train.batch_size", (4,)),
        ("model.memory.depth", (1, 3)),
        ("model.n_heads", (1, 2)),
    ]


@pytest.mark.parametrize("ablate", ["", "ablate: {wide: {model.dim: 64}}\n"])
def test_an_override_of_one_arm_adds_that_arm_alone(tmp_path: Path, ablate: str) -> None:
    (tmp_path / "x.yaml").write_text(f"question: q\nbase: {{model: {{dim: 16}}}}\n{ablate}")
    study = load_study(tmp_path / "x.yaml", ["ablate.small={model.dim: 8, model.conv_size: 1}"])
    found = {p.factors["arm"]: (p.config.model.dim, p.config.model.conv_size) for p in study.points}
    assert found == {"base": (16, 4)} | ({"wide": (64, 4)} if ablate else {}) | {"small": (8, 1)}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.lr"], "override train.lr: train.lr: no value; write key=value"),
        (["train.lr="], "override train.lr=: train.lr: the value is empty; write train.lr=null for none, or a value"),
        (["model.memroy.depth=4"], "override model.memroy.depth=4: model.memroy.depth: unknown key; did you mean"),
        (["+model.segmentlen=4"], "override +model.segmentlen=4: +model.segmentlen: unknown key; did you mean"),
        (["grid.lr=[1]"], "override grid.lr=[1]: lr: unknown key; did you mean train.lr?"),
        (["grid.train.lr=1"], "override grid.train.lr=1: train.lr: 1 is an integer, not a list; name its values"),
        (["model.memory=3"], "override model.memory=3: model.memory: a section, not a value"),
        (["model.dim=wide"], 'override model.dim=wide: model.dim: "wide" is text, not an integer'),
        (["model.n_heads=3"], "override model.n_heads=3: model.dim: 128 is not divisible"),
        (["model.n_heads=[3"], "override model.n_heads=[3: not YAML: "),
        (["train.lr=1", "train.lr=2"], "override train.lr=2: train.lr: given twice, also as override train.lr=1"),
        (["seeds=x"], 'override seeds=x: seeds: "x" is text'),
    ],
)
def test_a_wrong_override_is_named(path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_study(path, overrides)
    assert str(caught.value).startswith(message)


def test_an_override_of_what_the_grid_varies_names_both(path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_study(path, ["train.batch_size=4"])
    told = f"override train.batch_size=4: train.batch_size: the grid varies it at {path}:7"
    expected = f"{told}; write grid.train.batch_size=[...]"
    assert str(caught.value).startswith(expected)


def test_a_key_that_no_run_reads_is_warned_about(path: Path) -> None:
    study = written(path, "base:\n  model:\n    variant: lmm\n    window: 32\n    memory: {depth: 1, expansion: 2}\n")
    assert [warning.removeprefix(f"{path}:").partition(": set")[0] for warning in study.warnings] == [
        "4: model.window",
        "5: model.memory.expansion",
    ]


def test_a_key_that_one_run_reads_is_not_warned_about(path: Path) -> None:
    assert not load_study(path).warnings
    assert not written(path, "base: {model: {window: 32}}\ngrid: {model.variant: [lmm, mag]}\n").warnings


def test_a_thousand_runs_have_a_thousand_names(path: Path) -> None:
    rates = ", ".join(f"{number}e-6" for number in range(1, 201))
    study = written(path, f"grid:\n  train.lr: [{rates}]\nseeds: 5\n")
    assert len({run.run_id for run in runs(study)}) == 1000


def test_a_preset_whose_batch_is_larger_than_the_studys_tokens_is_warned_of(tmp_path: Path):
    text = "preset: 340M\nbase: {train: {tokens: 1_000_000}}\n"
    [warning] = written(tmp_path / "study.yaml", text).warnings
    assert warning == (
        "train.tokens: every combination trains for one step of 524,288 tokens (train.batch_size x train.seq_len); "
        "raise it"
    )
    assert written(tmp_path / "study.yaml", text.replace("1_000_000", "2_000_000")).warnings == ()
