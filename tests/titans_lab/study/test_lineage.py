"""Which run is meant by `init`: by the name of an arm, in this study or another one, and by what agrees."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.run.origin import Parent
from titans_lab.run.run import Run
from titans_lab.study.study import load_study

HEAD = """
question: Does it begin with it?
base:
  model: {variant: lmm, dim: 16, n_layers: 1, n_heads: 2}
  train: {seq_len: 32}
"""
STAGES = """
studies:
  short: {}
  long: {base: {train: {seq_len: 64}, init: {arm: short}}}
"""
DEPTHS = "grid: {model.memory.depth: [1, 2]}\n"
Runs = Callable[..., list[Run]]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Write studies, and return the runs of `main`, with paths in the place of the data's hashes.

    A study's text may begin with what its base has as `init`.
    """

    def of(main: str, **others: str) -> list[Run]:
        for name, text in {"main": main, **others}.items():
            indent = "  " if text.startswith("init:") else "\n"
            (tmp_path / f"{name}.yaml").write_text(HEAD + indent + text)
        return load_study(tmp_path / "main.yaml").runs(lambda config: str(config.data.path))

    return of


def by_label(runs: list[Run]) -> dict[str, Run]:
    return {run.label: run for run in runs}


def parent_label(run: Run, runs: list[Run]) -> str:
    assert run.parent
    return next(each.label for each in runs if each.run_id == run.parent.run_id)


def test_a_child_begins_with_the_run_of_the_same_seed_and_the_same_other_values(runs: Runs):
    found = runs(STAGES + DEPTHS + "seeds: 2")
    children = [run for run in found if run.factors["study"] == "long"]
    assert len(children) == 4
    for child in children:
        assert parent_label(child, found) == child.label.replace("long", "short")
        assert child.parent
        assert (child.parent.study, child.parent.steps) == ("", 0)


def test_a_study_without_init_has_the_ids_it_always_had(runs: Runs):
    alone, staged = runs("seeds: 1"), runs(STAGES)
    assert alone[0].run_id == staged[0].run_id
    assert alone[0].parent is None


def test_children_of_different_parents_are_different_runs(runs: Runs):
    text = "studies: {a: {}, b: {base: {train: {lr: 0.1}}}, c: {base: {init: {arm: a}}}, d: {base: {init: {arm: b}}}}"
    assert len({run.run_id for run in runs(text)}) == 4


def test_an_arm_of_an_ablation_that_begins_elsewhere_is_not_idle(runs: Runs):
    found = by_label(runs("ablate: {tuned: {init.arm: base}}"))
    assert found["tuned seed=0"].parent
    assert found["tuned seed=0"].parent.run_id == found["base seed=0"].run_id


@pytest.mark.parametrize("arm", ["depth=1", "memory.depth=1"])
def test_values_name_an_arm_as_plan_shows_them(runs: Runs, arm: str):
    condition = "when: {'model.memory.depth == 2': {base: {init: {arm: ARM}}}}".replace("ARM", arm)
    shallow, deep = runs(DEPTHS + condition)
    assert deep.parent
    assert deep.parent.run_id == shallow.run_id


def test_another_studys_run_is_a_parent_with_the_file_that_trains_it(runs: Runs, tmp_path: Path):
    first = DEPTHS + "seeds: 3"
    wanted = by_label(runs(first))["memory.depth=2 seed=2"]
    [child] = runs("init: {study: first.yaml, arm: depth=2, seed: 2}", first=first)
    assert child.parent == Parent(wanted.run_id, str(tmp_path / "first.yaml"))


def test_without_an_arm_it_is_the_one_with_the_same_values(runs: Runs):
    found = runs("init: {study: first.yaml}\n" + DEPTHS + "seeds: 2", first=DEPTHS + "seeds: 3")
    first = by_label(runs(DEPTHS + "seeds: 3"))
    assert [run.parent and run.parent.run_id for run in found] == [first[run.label].run_id for run in found]


def test_a_chain_goes_through_several_studies(runs: Runs):
    [run] = runs("init: {study: second.yaml}", second="init: {study: first.yaml}\nname: other", first="seeds: 2")
    assert run.parent
    assert run.parent.study.endswith("second.yaml")
    [second] = runs("init: {study: first.yaml}\nname: other")
    assert run.parent.run_id == second.run_id


def test_a_training_that_goes_on_counts_the_steps_of_all_before_it(runs: Runs):
    text = """
studies:
  a: {base: {log: {keep_state: true}}}
  b: {base: {log: {keep_state: true}, init: {arm: a, weights_only: false}}}
  c: {base: {init: {arm: b, weights_only: false}}}
"""
    steps = RunConfig().train.tokens // (4 * 32)
    assert [run.parent.steps if run.parent else None for run in runs(text)] == [None, steps, 2 * steps]


def test_a_run_by_its_id_is_a_parent(runs: Runs):
    [run] = runs("init: {run: 0123456789abcdef}")
    assert run.parent
    assert (run.parent.run_id, run.parent.steps) == ("0123456789abcdef", 0)


@pytest.mark.parametrize("order", ["listed", "shuffled"])
def test_children_are_launched_behind_their_parents(tmp_path: Path, order: str):
    path = tmp_path / "main.yaml"
    text = "studies: {long: {base: {train: {seq_len: 64}, init: {arm: short}}}, short: {}}"
    path.write_text(f"{HEAD}{text}\nseeds: 5\norder: {order}")
    study = load_study(path)
    launched = [run.run_id for run in study.launch_order(study.runs(lambda config: ""))]
    assert len(launched) == 10
    for run in study.runs(lambda config: ""):
        assert run.parent is None or launched.index(run.parent.run_id) < launched.index(run.run_id)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STAGES.replace("arm: short", "arm: shrt"), "main.yaml:10: init.arm: 'shrt' is no arm of"),
        (STAGES.replace("arm: short", "arm: shrt"), "did you mean short?"),
        (STAGES.replace("arm: short", "arm: long"), "would begin with its own weights: long seed=0 <- long seed=0"),
        ("studies: {a: {base: {init: {arm: b}}}, b: {base: {init: {arm: a}}}}", "own weights: a seed=0 <- b seed=0"),
        (STAGES.replace("arm: short", "arm: short, seed: 4"), "init.seed: there is no parent with seed 4"),
        (STAGES.replace("arm: short", "study: missing.yaml"), "init.study: "),
        (STAGES.replace("arm: short", "study: depth"), "init.study: 'depth' is not a study file"),
        (STAGES.replace("arm: short", "arm: short, weights_only: false"), "the parent does not keep its state"),
        ("studies: {a: {base: {log: {weights: false}}}, b: {base: {init: {arm: a}}}}", "do not keep their weights"),
        (
            "studies: {a: {grid: {model.memory.depth: [1, 2]}}, b: {base: {init: {arm: a}}}}",
            "'a' means 2 arms of",
        ),
        (STAGES + "search: {space: {train.lr: {float: [0.1, 1.0]}}}", "cannot begin with the weights of another run"),
    ],
)
def test_a_parent_that_is_not_to_be_found_is_an_error_at_its_place(runs: Runs, text: str, words: str):
    with pytest.raises(UserError) as caught:
        runs(text)
    assert words in str(caught.value)
    assert "main.yaml" in str(caught.value)


def test_studies_that_begin_with_each_others_runs_are_refused_where_a_run_would_begin_with_itself(runs: Runs):
    one = "init: {study: other.yaml}"
    with pytest.raises(UserError, match="would begin with its own weights"):
        runs(one, other=one.replace("other", "main"))


def test_studies_may_take_turns(runs: Runs):
    other = "init: {study: main.yaml, arm: a}"
    found = by_label(runs("studies: {a: {}, b: {base: {init: {study: other.yaml}}}}", other=other))
    assert found["b seed=0"].parent
    assert found["b seed=0"].parent.run_id not in {run.run_id for run in found.values()}


def test_a_study_is_found_from_the_folder_of_the_study_that_names_it(runs: Runs, tmp_path: Path, monkeypatch):
    runs("init: {study: other.yaml}", other="seeds: 1")
    below = tmp_path / "below"
    below.mkdir()
    for name in ("main.yaml", "other.yaml"):
        shutil.move(tmp_path / name, below / name)
    monkeypatch.chdir(tmp_path)
    [run] = load_study(Path("below/main.yaml")).runs(lambda config: "")
    assert run.parent
    assert run.parent.study == "below/other.yaml"
