"""A run on several devices has the numbers of one device: gradients, losses, checkpoints. On CPUs and with gloo."""

from __future__ import annotations

import pytest
from several_ranks import CURVES, TRAINERS, Deviations, deviations

from titans.mixers.registry import variants


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> Deviations:
    return deviations(2, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def on_three(tmp_path_factory: pytest.TempPathFactory) -> Deviations:
    return deviations(3, tmp_path_factory.mktemp("three"))


@pytest.mark.parametrize("sharded", [False, True], ids=["DDP", "FSDP"])
def test_gradients_and_losses_on_two_ranks_are_those_of_one(on_two: Deviations, sharded: bool):
    assert {name.split()[0] for name in on_two} == {*variants(), *TRAINERS}
    for variant in variants():
        gradient, loss = on_two[f"{variant} {sharded}"]
        assert (variant, gradient < 1e-10, loss < 1e-5) == (variant, True, True)


@pytest.mark.parametrize("sharded", [False, True], ids=["DDP", "FSDP"])
def test_gradients_and_losses_on_three_ranks_are_those_of_one(on_three: Deviations, sharded: bool):
    for variant in CURVES:
        gradient, loss = on_three[f"{variant} {sharded}"]
        assert (variant, gradient < 1e-10, loss < 1e-5) == (variant, True, True)


@pytest.mark.parametrize("sharded", [False, True], ids=["DDP", "FSDP"])
def test_optimizers_and_averages_on_two_ranks_are_those_of_one_across_a_checkpoint(on_two: Deviations, sharded: bool):
    for name, (_, shards) in TRAINERS.items():
        if sharded and not shards:  # refused by `RunConfig`
            assert f"{name} {sharded}" not in on_two
            continue
        weight, loss = on_two[f"{name} {sharded}"]
        # Muon rounds to bfloat16, where the last bit of a gradient may decide
        assert (name, weight < (1e-3 if name == "muon" else 1e-5), loss < 1e-4) == (name, True, True)
