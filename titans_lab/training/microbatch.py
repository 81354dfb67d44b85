"""Pass batches through the model in micro-batches, which needs less memory and gives the same numbers up to rounding.

A loss is a sum over examples divided by the terms of the whole batch, and no example depends on the others of its
batch. So gradients add up, and outputs can be concatenated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from titans_lab.tasks.task import Batch

T = TypeVar("T")
OUT_OF_MEMORY = (
    "can't allocate memory", "out of memory", "std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED",
    "could not create a primitive",  # oneDNN
)  # fmt: skip


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an exception means that memory ran out.

    Torch has an exception for GPUs, which not all errors use.
    """
    if isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY):
        return True
    return isinstance(error, MemoryError | torch.OutOfMemoryError)


class MicroBatches:
    """The size of micro-batches, which is halved whenever memory runs out.

    Args:
        batch: The examples of a step, on all ranks.
        size: The initial micro-batch.
        halved: A function that is called with the new size.
    """

    def __init__(self, batch: int, size: int, halved: Callable[[int], None] = lambda _: None) -> None:
        self.batch, self.size, self.halved = batch, min(size, batch), halved

    def of(self, batch: Batch, ranks: int = 1) -> Iterator[Batch]:
        """Yield the micro-batches of a batch. A batch of more and shorter examples gives as many of them.

        Args:
            batch: The examples of a step, or of one rank in a step.
            ranks: The number of ranks that divide a step's examples among them.
        """
        count = math.ceil(self.batch / (self.size * ranks))
        return zip(*(x.chunk(count) for x in batch), strict=True)

    def within_memory(self, work: Callable[[], T]) -> T:
        """Call `work`, and repeat it with smaller micro-batches if memory runs out. At size 1 the error is raised."""
        while True:
            try:
                return work()
            except Exception as error:
                if self.size == 1 or not is_out_of_memory(error):
                    raise
            # Here the error is freed, and with it the tensors that its traceback held.
            torch.cuda.empty_cache()
            self.size //= 2
            self.halved(self.size)


class InParts(nn.Module):
    """A model that reads a batch in micro-batches, for evaluations.

    Args:
        model: A language model, or the model that a task trains in its place.
        parts: A function that splits inputs into micro-batches.
        look: A function that is called before each.
    """

    def __init__(self, model: nn.Module, parts: Callable[[Batch], Iterator[Batch]], look: Callable[[], None]) -> None:
        super().__init__()
        self.model, self.parts, self.look = model, parts, look

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the model's output `[batch, ...]`."""
        return self._joined(self.model, inputs)

    def logits_at(self, *inputs: Tensor) -> Tensor:
        """Return the model's `logits_at` `[answers, vocab]`."""
        return self._joined(self.model.logits_at, inputs)  # type: ignore[arg-type]

    def _joined(self, read: Callable[..., Tensor], inputs: Batch) -> Tensor:
        outputs = []
        for part in self.parts(inputs):
            self.look()
            outputs.append(read(*part))
        return torch.cat(outputs) if len(outputs) > 1 else outputs[0]
