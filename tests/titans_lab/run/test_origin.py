"""What `init` refuses, and what a parent changes in a run's id."""

from __future__ import annotations

import pytest

from titans_lab.run.config import Impossible, RunConfig, build, plain
from titans_lab.run.identity import run_id
from titans_lab.run.origin import Parent
from titans_lab.run.run import Run, batches, parents_first, record_of

PARENT = "0123456789abcdef"


def config(**init: object) -> RunConfig:
    return build(RunConfig, {f"init.{key}": value for key, value in init.items()})


@pytest.mark.parametrize(
    ("init", "fault"),
    [
        ({"arm": " "}, "init.arm: is empty"),
        ({"study": ""}, "init.study: is empty"),
        ({"run": "0123"}, "init.run: '0123' is not the id of a run"),
        ({"run": "../../../../etc/x"}, "init.run: '../../../../etc/x' is not the id of a run"),
        ({"run": PARENT, "arm": "short"}, "init.run: names the parent already"),
        ({"run": PARENT, "seed": 1}, "init.seed: is for init.arm and init.study"),
        ({"arm": "short", "seed": -1}, "init.seed: -1 is negative"),
        ({"weights_only": False}, "init.weights_only: there is no training to go on with"),
    ],
)
def test_values_that_make_no_sense_are_refused_with_their_key(init: dict[str, object], fault: str):
    with pytest.raises(Impossible) as caught:
        config(**init)
    assert caught.value.faults[0].startswith(fault)


def test_a_state_without_weights_is_refused():
    with pytest.raises(Impossible, match=r"log.keep_state: is of no use without the weights"):
        build(RunConfig, {"log.weights": False, "log.keep_state": True})


def test_the_parents_id_stands_for_the_names_in_a_runs_id():
    plainly = run_id(RunConfig(), 0, "data")
    assert run_id(config(arm="short"), 0, "data") == plainly  # names alone decide nothing
    child = run_id(config(arm="short"), 0, "data", PARENT)
    assert child == run_id(config(run=PARENT), 0, "data", PARENT)
    assert len({plainly, child, run_id(config(arm="short"), 0, "data", PARENT[::-1])}) == 3
    assert run_id(config(arm="short", weights_only=False), 0, "data", PARENT) != child


def test_a_record_names_the_parent():
    run = Run("1" * 16, config(run=PARENT), 0, "data", {}, parent=Parent(PARENT, steps=7))
    record = record_of(run, "")
    assert (record["parent"], record["steps_before"]) == (PARENT, 7)
    assert plain(run.config)["init"]["run"] == PARENT
    assert record_of(Run("1" * 16, RunConfig(), 0, "data", {}), "")["parent"] is None


def run_of(name: str, parent: str | None = None, steps: int | None = 0) -> Run:
    return Run(name, RunConfig(), 0, "data", {}, parent=parent and Parent(parent, steps=steps))


def test_each_run_comes_behind_its_parent_and_the_order_is_kept_otherwise():
    runs = [run_of("c", "b"), run_of("x"), run_of("b", "a"), run_of("a"), run_of("y", "elsewhere")]
    assert [run.run_id for run in parents_first(runs)] == ["a", "b", "c", "x", "y"]
    assert [run.run_id for run in parents_first(runs[:2])] == ["c", "x"]


def test_runs_that_go_on_have_the_batches_behind_their_parents_steps():
    new, seven, also_seven, nine = run_of("a", "p"), run_of("b", "p", 7), run_of("c", "q", 7), run_of("d", "p", 9)
    assert batches(new) == batches(run_of("e"))
    assert batches(seven) == batches(also_seven)
    assert len({batches(new), batches(seven), batches(nine), batches(run_of("f", "p", None))}) == 4
