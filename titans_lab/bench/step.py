"""Time training steps in turns with each other and with a plain matrix product."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor, nn

from titans.models.config import ModelConfig
from titans.models.language_model import LanguageModel
from titans_lab.bench.peer import TheirMemory
from titans_lab.tasks.text.task import bits_per_token
from titans_lab.training.precision import products_in
from titans_lab.training.speed import factor

PRODUCTS = 20  # the number of products in a turn

Run = Callable[[], object]


class Turn(NamedTuple):
    """The seconds of a call, and the most bytes that it held above what was there before; None on a CPU."""

    seconds: float
    peak: int | None


def build(config: ModelConfig, peer: bool) -> LanguageModel:
    """Return a model; with `peer`, one with titans-pytorch's memory as the mixer of its blocks."""
    model = LanguageModel(config)
    for block in model.blocks if peer else ():
        block.mixer = TheirMemory(config)
    return model


def step_of(model: nn.Module, tokens: Tensor, precision: str, update: Run = lambda: None) -> Run:
    """Return a training step on tokens `[batch, length + 1]`: forward, backward, `update`, and no gradients left."""

    def run() -> None:
        with products_in(precision, tokens.device):
            loss = bits_per_token(model, tokens[:, :-1], tokens[:, 1:])
        torch.autograd.backward(loss)
        update()
        model.zero_grad()

    return run


def product(device: torch.device) -> tuple[Run, int]:
    """Return a call of plain square products, and its FLOPs."""
    a = factor(device, "bfloat16")
    return lambda: [a @ a for _ in range(PRODUCTS)], PRODUCTS * 2 * len(a) ** 3


def alternate(runs: Mapping[str, Run], rounds: int, device: torch.device) -> dict[str, list[Turn]]:
    """Return the turns of each call, which alternate in every round. A first round is the warm-up and is left out."""
    for run in runs.values():
        turn(run, device)
    turns: dict[str, list[Turn]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            turns[name].append(turn(run, device))
    return turns


def turn(run: Run, device: torch.device) -> Turn:
    """Time one call, until the device has finished what it started."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if cuda else 0
    begin = perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize()
    return Turn(perf_counter() - begin, torch.cuda.max_memory_allocated() - before if cuda else None)


def peak_bytes(turns: Sequence[Turn], model: nn.Module) -> int | None:
    """Return the peak memory of a model and its step; None on a CPU."""
    own = sum(x.numel() * x.element_size() for x in (*model.parameters(), *model.buffers()))
    peaks = [turn.peak for turn in turns if turn.peak is not None]
    return own + max(peaks) if peaks else None
