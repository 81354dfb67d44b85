"""Recipes: each is a run of its variant, and the page that says what it reached names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.run.config import RunConfig, build
from titans_lab.study.presets import recipes

PAGE = Path(__file__).parents[3] / "docs" / "recipes.md"


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_of_its_variant_and_task(name: str) -> None:
    config = build(RunConfig, recipes()[name])
    assert name == f"{config.task.name}-{config.model.variant}"
    assert f"`{name}`" in PAGE.read_text()


def test_what_is_held_equal_in_a_family_is_equal() -> None:
    configs = [build(RunConfig, values) for values in recipes().values()]
    assert len({config.train for config in configs}) == 1
    assert {config.model.attention_conv_size for config in configs if config.model.variant != "lmm"} == {4}
    assert len({(config.model.dim, config.model.n_layers, config.model.conv_size) for config in configs}) == 1
