"""Batches that pass through the model in parts: less memory, and the same numbers but for rounding.

A loss is a sum over examples, divided by the terms of the whole batch, and nothing in a model depends on the other
examples of a batch; so gradients add up, and outputs stand side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from titans_lab.tasks.task import Batch

T = TypeVar("T")
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception says so; that of torch for this is raised for a GPU alone, and not always."""
    if isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY):
        return True
    return isinstance(error, MemoryError | torch.OutOfMemoryError)


class MicroBatches:
    """How many examples pass at a time: half as many whenever memory runs out.

    Args:
        batch: Examples of a step.
        size: Of them at a time, to begin with.
        halved: Is told the new size.
    """

    def __init__(self, batch: int, size: int, halved: Callable[[int], None]) -> None:
        self.batch, self.size, self.halved = batch, min(size, batch), halved

    def of(self, batch: Batch) -> Iterator[Batch]:
        """The parts of a batch, which may have more and shorter examples than others: as many as of any other."""
        count = math.ceil(self.batch / self.size)
        return zip(*(x.chunk(count) for x in batch), strict=True)

    def within_memory(self, work: Callable[[], T]) -> T:
        """Do it, and where memory runs out, again with smaller parts; at size 1 that error is raised."""
        while True:
            try:
                return work()
            except Exception as error:
                if self.size == 1 or not is_out_of_memory(error):
                    raise
            # Here the error is gone, and with it what its traceback held.
            torch.cuda.empty_cache()
            self.size //= 2
            self.halved(self.size)


class InParts(nn.Module):
    """A model that reads a batch in parts, for an evaluation.

    Args:
        model: A language model, or what a task trains in its place.
        parts: Of the inputs.
        look: Called before each.
    """

    def __init__(self, model: nn.Module, parts: Callable[[Batch], Iterator[Batch]], look: Callable[[], None]) -> None:
        super().__init__()
        self.model, self.parts, self.look = model, parts, look

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the model gives."""
        return self._joined(self.model, inputs)

    def logits_at(self, *inputs: Tensor) -> Tensor:
        """What the model's own gives."""
        return self._joined(self.model.logits_at, inputs)  # type: ignore[arg-type]

    def _joined(self, read: Callable[..., Tensor], inputs: Batch) -> Tensor:
        outputs = []
        for part in self.parts(inputs):
            self.look()
            outputs.append(read(*part))
        return torch.cat(outputs) if len(outputs) > 1 else outputs[0]
