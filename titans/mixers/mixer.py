"""What every sequence mixer offers, so that a block needs to know no more of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


class Mixer(nn.Module, ABC):
    """A map of streams: built from a `ModelConfig` alone, it goes on from the state that it left.

    A state is a tree of named tuples over tensors and numbers. However a sequence is cut, the parts give what the whole
    gives, and no output depends on a later token.
    """

    @abstractmethod
    def start(self, batch: int) -> Any:
        """The state of so many streams before their first token."""

    @abstractmethod
    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next tokens `[batch, time, dim]`; the output, shaped like x, and the state after them."""


@runtime_checkable
class HasKernels(Protocol):
    """A module that can be computed in several ways, which differ in speed and rounding alone."""

    def use_kernel(self, kernel: str) -> None:
        """Compute with the kernel of this name; a name that only other modules know changes nothing."""
