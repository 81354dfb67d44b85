"""The interface of a sequence mixer: the block that holds one knows nothing else of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


class Mixer(nn.Module, ABC):
    """A causal map of sequences that continues from the state it left, built from a `ModelConfig` alone.

    The state is a named tuple of tensors, numbers and further named tuples. A sequence can be cut anywhere: its parts
    give the outputs of the whole. No output depends on a later token.
    """

    @abstractmethod
    def start(self, batch: int) -> Any:
        """Return the state of `batch` sequences before their first token."""

    @abstractmethod
    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the outputs for the next tokens, both `[batch, time, dim]`, and the state after these tokens."""


@runtime_checkable
class HasKernels(Protocol):
    """A module with several implementations, which differ in speed and rounding alone."""

    def use_kernel(self, kernel: str) -> None:
        """Choose the implementation of this name. A name that only other modules know changes nothing."""


@runtime_checkable
class HasWrites(Protocol):
    """A module whose state tokens write to: a memory, or a recurrence whose state starts at zero.

    Attributes:
        writes: Whether tokens write. Without writes the state stays what it was before the first token, and tokens read
            from it. Short convolutions, attention and persistent tokens work as before.
    """

    writes: bool
