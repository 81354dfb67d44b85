from __future__ import annotations

from itertools import product

from titans_lab.report import memory


def looks(norm: float, heads: int = 2, positions: tuple[int, ...] = (0, 16)):
    """Two looks at one block of one layer: the surprise doubles by head, and halves from the first to the second."""
    rows = []
    for step, place, head in product((50, 100), (None, *positions), range(heads)):
        at = {"step": step, "tokens": step * 4096, "block": 0, "head": head, "position": place}
        rows.append(at | {"layer": None, "loss": 3.0})
        value = norm * (head + 1) * 50 / step * (1 if place is None else 1 + place)
        rows.append(at | {"layer": 0, "gradient_norm": value, "theta": 0.1, "weight_norm": 1.5})
    return rows


def chosen(found, figure: str, memory: str):
    """What the page shows for a choice."""
    figures, memories = (choice["options"] for choice in found.figure.controls["choices"])
    return found.figure.controls["series"][figures.index(figure) * len(memories) + memories.index(memory)]


def test_an_arm_is_the_mean_over_seeds_and_places_and_each_head_can_be_chosen(lab):
    lab = lab(grid={"model.memory.depth": [1, 2]}, seeds=2)
    lab.end(lab.runs[0], "done", 2.0, memory=looks(1.0))
    lab.end(lab.runs[1], "done", 2.0, memory=looks(3.0))
    lab.end(lab.runs[2], "done", 2.0, memory=looks(10.0))
    training, window = memory.sections(*lab.built)
    first, second = training.figure.traces
    assert first["x"] == [50 * 4096, 100 * 4096]
    assert (first["y"], second["y"]) == ([3.0, 1.5], [15.0, 7.5])
    assert chosen(training, "surprise", "mean of all")["y"] == [first["y"], second["y"]]
    assert chosen(training, "surprise", "block 0, layer 0, head 1")["y"] == [[4.0, 2.0], [20.0, 10.0]]
    assert chosen(training, "inner loss", "block 0, layer 0, head 1")["y"] == [[3.0, 3.0]] * 2
    assert window.figure.traces[0]["x"] == [0, 16]
    assert window.figure.traces[0]["y"] == [1.5, 25.5]  # of the last look


def test_figures_that_nobody_has_are_not_offered(lab):
    lab = lab(seeds=1)
    lab.end(lab.runs[0], "done", 2.0, memory=looks(1.0))
    training, _ = memory.sections(*lab.built)
    options = training.figure.controls["choices"][0]["options"]
    assert options == ["surprise", "norm of the weights, over the initial one", "step size theta", "inner loss"]
    assert not training.figure.traces[0]["showlegend"]


def test_heads_are_averaged_where_there_are_many_memories(lab, monkeypatch):
    monkeypatch.setattr(memory, "MOST_LINES", 1)
    lab = lab(seeds=1)
    lab.end(lab.runs[0], "done", 2.0, memory=looks(1.0))
    training, _ = memory.sections(*lab.built)
    assert training.figure.controls["choices"][1]["options"] == ["mean of all", "block 0, layer 0, all heads"]
    assert chosen(training, "surprise", "block 0, layer 0, all heads")["y"] == [[1.5, 0.75]]
    assert "averaged over the heads" in training.caption


def test_where_nobody_looked_there_is_nothing(lab):
    lab = lab(seeds=1)
    lab.end(lab.runs[0], "done", 2.0)
    assert list(memory.sections(*lab.built)) == []
