"""A search over an analytical loss, for tests: its study, and curves in the place of training."""

from __future__ import annotations

import math
from collections.abc import Callable

from titans_lab.run.config import RunConfig
from titans_lab.search.coordinator import Coordinator

HEAD = "name: s\nbase:\n  model: {variant: lmm, dim: 16, n_layers: 1, n_heads: 2}\n  train: {tokens: 100000}\n"
RATE = "    train.lr: {float: [1e-4, 1e-1], log: true}\n"
STEPS = 5  # validations of a run

Searching = Callable[..., Coordinator]


def bowl(config: RunConfig, seed: int = 0) -> float:
    """Return a loss with its optimum at a rate of 10^-2.5 and a depth of 2."""
    return (math.log10(config.train.lr) + 2.5) ** 2 + (config.model.memory.depth - 2) ** 2 + 2 + 0.001 * seed


def falling(config: RunConfig, seed: int) -> list[float | str]:
    """Down to `bowl`."""
    return [bowl(config, seed) + 1 / step - 1 / STEPS for step in range(1, STEPS + 1)]
