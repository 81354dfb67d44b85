"""Keep an exponential moving average of a model's parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of parameters, which begins at their initial values.

    Its decay rises from 2/11 to `decay`, so that the average forgets the initial values within few steps.

    Attributes:
        tensors: The average of each parameter, by name. Where a model is sharded, of this rank's part.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, steps: int) -> None:
        """Add the parameters after a number of steps to the average."""
        share = 1 - min(self.decay, (1 + steps) / (10 + steps))
        for name, p in model.named_parameters():
            self.tensors[name].lerp_(p.detach(), share)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from an average. Raise ValueError where it is of other parameters."""
        if {name: x.shape for name, x in tensors.items()} != {name: x.shape for name, x in self.tensors.items()}:
            raise ValueError("the average is of other parameters")
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
