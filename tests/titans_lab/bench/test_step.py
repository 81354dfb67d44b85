from __future__ import annotations

import torch

from titans.mixers.lmm.layer import NeuralMemory
from titans.models.config import ModelConfig
from titans_lab.bench.__main__ import models_of
from titans_lab.bench.step import alternate, build, peak_bytes, product, step_of
from titans_lab.run.config import plain

CPU = torch.device("cpu")


def test_each_takes_its_turn_in_every_round_after_one_that_does_not_count():
    called: list[str] = []
    turns = alternate({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 3, CPU)
    assert called == ["a", "b"] * 4
    assert {name: len(each) for name, each in turns.items()} == {"a": 3, "b": 3}
    assert all(turn.seconds > 0 for each in turns.values() for turn in each)
    assert peak_bytes(turns["a"], torch.nn.Linear(2, 2)) is None


def test_a_step_goes_back_to_every_parameter_and_leaves_no_gradient():
    model = build(ModelConfig(variant="lmm", dim=16, n_heads=2, n_layers=1), peer=False)
    reached: set[str] = set()
    for name, parameter in model.named_parameters():
        parameter.register_hook(lambda gradient, name=name: reached.add(name))
    step_of(model, torch.randint(256, (2, 33)), "float32")()
    assert reached == {name for name, _ in model.named_parameters()}
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_products_flops_are_those_of_its_multiply_adds():
    run, flops = product(CPU)
    assert flops == sum(2 * 512 * x.numel() for x in run())


def test_a_pair_is_measured_on_the_kernel_that_its_runs_have():
    config = plain(ModelConfig(variant="lmm", dim=16, n_heads=2))
    asked = {"model": config, "baseline": config, "peer": False, "kernel": "compiled"}
    for model in models_of(asked, torch.device("cpu")).values():
        memories = [module for module in model.modules() if isinstance(module, NeuralMemory)]
        assert [memory.operator.keywords for memory in memories] == [{"kernel": "compiled"}] * 2
