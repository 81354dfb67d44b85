from __future__ import annotations

import pytest

from titans_lab.report.arms import PALETTE, arrange, phrase, short_names
from titans_lab.report.data import gather

TWO_FACTORS = {"model.memory.chunk_size": [4, 16, 64], "model.memory.momentum": [True, False]}


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""

    def luminance(shade: str) -> float:
        channels = [int(shade[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("light", "dark"), PALETTE)
def test_every_colour_stands_out_from_its_page(light: str, dark: str):
    assert contrast(light, "#ffffff") >= 3
    assert contrast(dark, "#15181b") >= 3


def design(lab):
    return arrange(lab.study, gather(lab.study, lab.runs, lab.root).outcomes)


def test_an_arm_is_all_seeds_of_a_combination(lab):
    arms = design(lab(grid=TWO_FACTORS, seeds=4)).arms
    assert [len(arm.outcomes) for arm in arms] == [4] * 6
    assert arms[1].label == "chunk size 4 · momentum off"
    assert {outcome.run.config.model.memory.momentum for outcome in arms[1].outcomes} == {False}


def test_one_factor_gives_each_arm_a_colour(lab):
    arms = design(lab(grid={"model.memory.depth": [1, 2, 3]})).arms
    assert [(arm.colour, arm.mark, arm.x) for arm in arms] == [(0, 0, 0), (1, 0, 1), (2, 0, 2)]


def test_several_factors_give_the_first_the_axis_and_the_others_the_colours(lab):
    shown = design(lab(grid=TWO_FACTORS))
    assert shown.x.key == "model.memory.chunk_size"
    assert shown.groups == ("momentum on", "momentum off")
    assert [(arm.x, arm.colour, arm.mark) for arm in shown.arms] == [
        (x, colour, x) for x in range(3) for colour in range(2)
    ]


def test_more_arms_than_colours_differ_in_their_mark(lab):
    arms = design(lab(grid={"model.persistent_tokens": list(range(12))}, seeds=1)).arms
    assert len({(arm.colour, arm.mark) for arm in arms}) == 12


def test_a_factor_of_one_value_is_not_the_axis(lab):
    shown = design(lab(grid={"model.memory.depth": [2], "train.lr": [1e-3, 3e-3]}))
    assert shown.x.name == "lr"
    assert shown.arms[1].label == "depth 2 · lr 0.003"


def test_lists_that_go_together_are_one_axis(lab):
    shown = design(lab(zip={"model.dim": [64, 128, 256], "model.n_heads": [2, 4, 8]}, grid={"train.lr": [1e-3, 1e-2]}))
    assert shown.x.key == "train.lr"
    assert shown.groups == ("dim 64 · heads 2", "dim 128 · heads 4", "dim 256 · heads 8")


def test_lists_that_go_together_alone_are_the_axis(lab):
    alone = design(lab(zip={"model.dim": [64, 128], "model.n_heads": [2, 4]}))
    assert (alone.x.key, alone.groups) == ("model.dim", ("",))
    assert [arm.label for arm in alone.arms] == ["dim 64 · heads 2", "dim 128 · heads 4"]


def test_arms_of_an_ablation_go_by_their_names(lab):
    shown = design(lab(ablate={"model.memory.momentum": False, "plain": {"model.conv_size": 1}}))
    assert [arm.label for arm in shown.arms] == ["base", "memory.momentum=false", "plain"]
    assert shown.x.values == ("base", "memory.momentum=false", "plain")


def test_substudies_may_vary_different_factors(lab):
    depth = {"grid": {"model.memory.depth": [1, 2]}}
    shown = design(lab(studies={"attention": {"base": {"model": {"variant": "transformer"}}}, "memory": depth}))
    assert [arm.label for arm in shown.arms] == ["attention", "memory · depth 1", "memory · depth 2"]
    assert shown.x.values == ("attention", "memory")
    assert [list(arm.factors) for arm in shown.arms] == [["study", "depth"]] * 3


def test_names_are_as_short_as_they_stay_distinct():
    names = short_names(("model.memory.depth", "train.depth", "train.weight_decay"))
    assert list(names.values()) == ["memory.depth", "train.depth", "weight decay"]
    assert phrase({"a": True, "b": None, "c": 0.1}) == "a on · b default · c 0.1"
