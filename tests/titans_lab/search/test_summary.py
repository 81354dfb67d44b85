"""What a search found, as overrides, and whether it lies at the edge of the space."""

from __future__ import annotations

import pytest

from titans_lab.search.summary import edges, overrides
from titans_lab.study.terms import Dimension

SPACE = [
    Dimension("train.lr", "float", 1e-4, 1e-2, log=True),
    Dimension("model.memory.depth", "int", 1, 41),
    Dimension("model.memory.activation", "choice", choices=("gelu", "silu")),
]


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"train.lr": 1e-3, "model.memory.depth": 20, "model.memory.activation": "gelu"}, {}),
        ({"train.lr": 9e-3, "model.memory.depth": 20}, {"train.lr": 1e-2}),
        ({"train.lr": 1.2e-4, "model.memory.depth": 39}, {"train.lr": 1e-4, "model.memory.depth": 41}),
        ({"train.lr": 1.5e-4, "model.memory.depth": 4}, {}),
        ({}, {}),
    ],
)
def test_the_best_at_the_edge_of_the_space_is_named(params: dict[str, float | str], found: dict[str, float]):
    assert edges(params, SPACE) == found


def test_a_point_can_be_pasted_as_overrides():
    point = {"train.lr": 1e-3, "model.memory.momentum": True, "model.variant": "lmm"}
    assert overrides(point) == ["train.lr=0.001", "model.memory.momentum=true", "model.variant=lmm"]
