"""The arm of a run, the headline of evaluations, and paired differences."""

from __future__ import annotations

import pytest

from titans_lab.store.added import arm_labels, arms, differences

RUNS = [
    {"run_id": "a0", "factors": {"model.memory.depth": 1, "train.lr": 0.1}, "baseline": True},
    {"run_id": "b0", "factors": {"model.memory.depth": 2, "train.lr": 0.1}},
    {"run_id": "c0", "factors": {"model.memory.depth": 1, "train.lr": 0.2}, "baseline": True},
    {"run_id": "d0", "factors": {"model.memory.depth": 2, "train.lr": 0.2}},
    {"run_id": "d1", "factors": {"model.memory.depth": 2, "train.lr": 0.2}},
]
STUDY = {"name": "s", "runs": RUNS}


def row(run_id: str, score: float | None, state: str = "done", direction: str = "minimize", **more: object) -> dict:  # type: ignore[type-arg]
    about = {"metric": "loss", "unit": "bits per byte", "direction": direction}
    return {"run_id": run_id, "seed": int(run_id[1]), "state": state, "score": score, **about, **more}


def test_an_arm_is_named_by_the_shortest_ends_of_its_keys():
    assert arm_labels(STUDY)["b0"] == "depth=2 lr=0.1"
    assert arm_labels({"runs": [{"run_id": "a", "factors": {}}]}) == {"a": ""}
    two = {"name": "t", "runs": [{"run_id": "b0", "factors": {"model.dim": 8}}, {"run_id": "z", "factors": {"x.y": 1}}]}
    assert arms([STUDY, two])["b0"] == "depth=2 lr=0.1"
    assert arms([two, STUDY])["b0"] == "dim=8"


def test_a_run_stands_beside_the_baseline_of_its_seed_that_is_most_like_it():
    runs = {
        each["run_id"]: each
        for each in [row("a0", 2.0), row("b0", 1.5), row("c0", 3.0), row("d0", 3.25), row("d1", 1.0)]
    }
    found = list(differences([STUDY], runs))
    assert [(each["run_id"], each["baseline_run_id"], each["difference"], each["better"]) for each in found] == [
        ("b0", "a0", -0.5, True),
        ("d0", "c0", 0.25, False),
    ]
    assert found[0]["arm"] == "depth=2 lr=0.1"
    assert found[0]["baseline"] == "depth=1 lr=0.1"


@pytest.mark.parametrize(
    ("state", "score", "left"), [("failed", None, []), ("done", None, [None]), ("done", 2.0, [0.0])]
)
def test_a_run_without_a_score_has_no_difference(state: str, score: float | None, left: list[float | None]):
    runs = {"a0": row("a0", 2.0), "b0": row("b0", score, state)}
    found = list(differences([STUDY], runs))
    assert [each["difference"] for each in found] == left
    assert not any(each["better"] for each in found)


def test_the_metric_is_the_one_that_the_study_asks_for():
    asked = {**STUDY, "metric": {"name": "tokens_per_second", "direction": "maximize"}}
    runs = {"a0": row("a0", 2.0, tokens_per_second=10.0), "b0": row("b0", 1.5, tokens_per_second=30.0)}
    [found] = differences([asked], runs)
    assert (found["metric"], found["unit"], found["difference"], found["better"]) == (
        "tokens_per_second",
        None,
        20.0,
        True,
    )
