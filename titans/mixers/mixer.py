"""What every sequence mixer offers, so that a block needs to know no more of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

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
