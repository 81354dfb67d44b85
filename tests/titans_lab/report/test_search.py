from __future__ import annotations

from typing import Any

import pytest

from titans_lab.report.search import sections
from titans_lab.store.store import Store

RECORD = {"runs": [], "reports": {}, "limits": {}, "attributes": {}, "origin": "sampler"}


def search(lab, name: str, trials: list[dict[str, Any]], **more: Any) -> None:
    """Records of a search, as its coordinator writes them."""
    folder = Store(lab.root).search(name)
    folder.create({"study": lab.study.name, "arm": "", "objectives": [["loss", "loss", "minimize"]]} | more)
    for number, trial in enumerate(trials):
        folder.save_trial(RECORD | {"number": number, "state": "done"} | trial)


@pytest.fixture
def tried(lab):
    """Ten trials: the learning rate decides, the width does not; the third was stopped, the fifth violates a bound."""
    lab = lab(seeds=1)
    params = [{"train.lr": 10.0 ** (place % 5 - 5), "model.dim": 16 * (place % 2 + 1)} for place in range(20)]
    trials = [{"params": each, "values": [1.0 + place % 5]} for place, each in enumerate(params)]
    trials[2] |= {"state": "pruned"}
    trials[5] |= {"values": [0.5], "limits": {"memory": 0.2}}
    search(lab, "depth-1", trials)
    return {section.name: section for section in sections(*lab.built)}


def test_the_history_has_every_value_and_the_best_feasible_one_so_far(tried):
    dots, best = tried["search-history"].figure.traces
    assert dots["x"] == list(range(20))
    assert [symbol == "x-thin" for symbol in dots["marker"]["symbol"]] == [place == 2 for place in range(20)]
    assert min(best["y"]) == best["y"][-1] == 1.0
    assert 5 not in best["x"]
    assert "over a bound" in dots["text"][5]
    assert "19 done, 1 pruned" in tried["search-history"].caption


def test_a_trial_without_a_value_is_a_cross_as_far_off_as_the_worst(lab):
    lab = lab(seeds=1)
    states = [{}, {"state": "diverged", "values": None}, {"values": [3.0]}, {"state": "infeasible", "values": None}]
    search(lab, "s", [{"params": {"model.dim": 16}, "values": [1.0]} | each for each in states])
    history = next(iter(sections(*lab.built)))
    _, lost, _ = history.figure.traces
    assert (lost["x"], lost["y"], lost["marker"]["symbol"]) == ([1], [3.0], ["x"])
    assert "trial 1, diverged" in lost["text"][0]


def test_the_table_has_the_best_first_and_what_violates_a_bound_last(tried):
    table = tried["search-history"].table
    assert len(table.rows) == 10
    assert table.rows[0].heads == ("all", "0")
    assert table.rows[0].cells[:3] == ("1e-05", "16", "1.000")
    assert all(row.heads[1] != "5" for row in table.rows)


def test_the_decisive_parameter_is_the_most_important(tried):
    (bars,) = tried["search-importance"].figure.traces
    assert bars["y"][0] == "train.lr"
    assert bars["x"][0] > 0.6
    assert bars["x"][1] < 0.2


def test_a_slice_has_the_axis_that_its_values_want(tried):
    rate, width = tried["search-slices"].figure.controls["x"]
    assert (rate["name"], rate["type"], width["type"]) == ("train.lr", "log", "linear")
    assert len(rate["places"][0]) == len(tried["search-slices"].figure.traces[0]["y"]) == 19


def test_two_objectives_have_a_front(lab):
    lab = lab(seeds=1)
    pairs = [(1.0, 100.0), (2.0, 300.0), (3.0, 200.0)]
    objectives = [["loss", "loss", "minimize"], ["tokens_per_second", "tokens_per_second", "maximize"]]
    search(lab, "s", [{"params": {"model.dim": 16}, "values": list(pair)} for pair in pairs], objectives=objectives)
    found = {section.name: section for section in sections(*lab.built)}
    _, line = found["search-front"].figure.traces
    assert (line["x"], line["y"]) == ([100.0, 300.0], [1.0, 2.0])
    assert "search-importance" not in found  # of three trials nothing is said


def test_trials_that_come_later_change_no_statement(lab):
    lab = lab(seeds=1)
    search(lab, "s", [{"params": {"model.dim": 16}, "values": [1.0]}])
    material, design = lab.built
    list(sections(material, design))
    statement = material.evidence.statements["trials"]
    later = {"params": {"model.dim": 32}, "values": [0.1], "started": "2126-01-01T00:00:00+00:00"}
    search(lab, "s", [{"params": {"model.dim": 16}, "values": [1.0]}, later])
    assert lab.built[0].evidence.ask("again", statement.sql) == statement.rows


def test_a_study_without_a_search_has_no_section(lab):
    assert list(sections(*lab(seeds=1).built)) == []
