"""Measure a model's memories, as rows of the view `memory`: means over sequences, in total and by position."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from titans.models.backbone import Backbone
from titans.models.inspection import MemoryDiagnostics, inspect

MOST_SEGMENTS = 64  # the most segments of a window, so that the records stay small

Row = dict[str, float | None]

#: The figures that each layer of a memory has.
OF_LAYERS = tuple(name for name in MemoryDiagnostics._fields if name != "loss")


def memory_rows(model: Backbone, tokens: Tensor) -> Iterator[Row]:
    """Yield the diagnostics of reading tokens `[batch, time]`: means over the whole window, then by position.

    A segment of positions has so many chunks that there are at most `MOST_SEGMENTS`. A figure that is not finite is
    null.
    """
    memory = model.config.memory
    chunk = memory.eval_chunk_size or memory.chunk_size
    for block, figures in inspect(model, tokens).items():
        length = figures.loss.shape[-1]  # for a series the number of patches
        segment = chunk * math.ceil(length / chunk / MOST_SEGMENTS)
        for row in _rows(figures, segment, [None, *range(0, length, segment)]):
            yield {"block": block, **{name: None if value != value else value for name, value in row.items()}}


def _rows(figures: MemoryDiagnostics, segment: int, positions: list[int | None]) -> Iterator[Row]:
    losses = _means(figures.loss, segment).tolist()
    of_layers = torch.stack([_means(getattr(figures, name), segment) for name in OF_LAYERS], -1).tolist()
    for head, (place, position) in product(range(len(losses)), enumerate(positions)):
        at = {"head": head, "position": position}
        yield {**at, "layer": None, "loss": losses[head][place]}
        for layer, values in enumerate(of_layers):
            yield {**at, "layer": layer, **dict(zip(OF_LAYERS, values[head][place], strict=True))}


def _means(figure: Tensor, segment: int) -> Tensor:
    """Return means `[..., 1 + segments]` of `[batch, ..., time]`: over all positions, then over each segment."""
    of_batch = figure.double().mean(0)
    return torch.stack([x.mean(-1) for x in (of_batch, *of_batch.split(segment, -1))], -1).cpu()
