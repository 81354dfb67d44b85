"""What goes on inside a model's memories, as rows of the view `memory`: means over sequences, whole and by position."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from titans.models.backbone import Backbone
from titans.models.inspection import MemoryDiagnostics, inspect

MOST_STRETCHES = 64  # of a window: what is recorded stays small

Row = dict[str, float | None]

#: The figures that each layer of a memory has for itself.
OF_LAYERS = tuple(name for name in MemoryDiagnostics._fields if name != "loss")


def memory_rows(model: Backbone, tokens: Tensor) -> Iterator[Row]:
    """Rows of what goes on while the model reads tokens `[batch, time]`: of the whole window, then by position.

    A stretch of positions is as many chunks as it takes to have `MOST_STRETCHES` at most. A figure that is not a number
    is null.
    """
    memory = model.config.memory
    chunk = memory.eval_chunk_size or memory.chunk_size
    for block, figures in inspect(model, tokens).items():
        length = figures.loss.shape[-1]  # of a series, patches
        stretch = chunk * math.ceil(length / chunk / MOST_STRETCHES)
        for row in _rows(figures, stretch, [None, *range(0, length, stretch)]):
            yield {"block": block, **{name: None if value != value else value for name, value in row.items()}}


def _rows(figures: MemoryDiagnostics, stretch: int, positions: list[int | None]) -> Iterator[Row]:
    losses = _means(figures.loss, stretch).tolist()
    of_layers = torch.stack([_means(getattr(figures, name), stretch) for name in OF_LAYERS], -1).tolist()
    for head, (place, position) in product(range(len(losses)), enumerate(positions)):
        at = {"head": head, "position": position}
        yield {**at, "layer": None, "loss": losses[head][place]}
        for layer, values in enumerate(of_layers):
            yield {**at, "layer": layer, **dict(zip(OF_LAYERS, values[head][place], strict=True))}


def _means(figure: Tensor, stretch: int) -> Tensor:
    """`[batch, ..., time]` to `[..., 1 + stretches]`: the mean over all positions, then that of each stretch."""
    of_batch = figure.double().mean(0)
    return torch.stack([x.mean(-1) for x in (of_batch, *of_batch.split(stretch, -1))], -1).cpu()
