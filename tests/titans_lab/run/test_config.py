from __future__ import annotations

import pytest

from titans.mixers.registry import settings_classes
from titans_lab.run.config import Impossible, RunConfig, build, flatten, leaves, plain
from titans_lab.run.values import expected
from titans_lab.study.grammar import language


def test_the_leaves_are_the_values_of_a_configuration() -> None:
    defaults = {key: leaf.default for key, leaf in leaves().items() if not key.startswith("task.")}
    assert defaults | {"task.name": "text"} == dict(flatten(plain(RunConfig())))
    sections = [section for section in language().sections if not section.startswith("task.")]
    mixers = [f"model.{name}" for name in settings_classes()]
    assert len(mixers) > 3
    assert set(sections) == {
        "model",
        "model.memory",
        "model.recurrent",
        *mixers,
        "data",
        "task",
        "train",
        "init",
        "log",
        "speed",
    }


def test_every_declared_type_has_a_name_in_words() -> None:
    assert all(expected(leaf.hint) for leaf in leaves().values())


def test_build_puts_each_value_where_its_key_says() -> None:
    config = build(RunConfig, {"model.memory.depth": 3, "train.lr": 0.5})
    assert (config.model.memory.depth, config.train.lr) == (3, 0.5)
    assert build(RunConfig, {}) == RunConfig()


def test_build_reports_every_part_that_refuses() -> None:
    with pytest.raises(Impossible) as caught:
        build(RunConfig, {"model.memory.depth": 0, "train.lr": -1.0, "log.every": 1})
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["model.memory.depth", "train.lr"]
