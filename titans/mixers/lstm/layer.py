"""The layer of the LSTM (Hochreiter and Schmidhuber, 1997), as torch has it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from titans.mixers.mixer import Mixer
from titans.models.config import ModelConfig


class Cells(NamedTuple):
    """The hidden and the cell state, each `[batch, dim]`."""

    hidden: Tensor
    cell: Tensor


class LSTM(Mixer):
    """An LSTM layer as wide as the residual stream.

    The forget gate's bias starts at 1 (Jozefowicz, Zaremba and Sutskever, 2015), the others at 0.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.lstm = nn.LSTM(config.dim, config.dim, batch_first=True)
        with torch.no_grad():
            for name, forget in (("bias_ih_l0", 1.0), ("bias_hh_l0", 0.0)):
                self.lstm.get_parameter(name).zero_()[config.dim : 2 * config.dim] = forget

    def start(self, batch: int) -> Cells:
        """Return the state of `batch` sequences before their first token."""
        zeros = self.lstm.get_parameter("weight_ih_l0").new_zeros(batch, self.lstm.hidden_size)
        return Cells(zeros, zeros)

    def forward(self, x: Tensor, state: Cells) -> tuple[Tensor, Cells]:
        """Mix the next tokens `[batch, time, dim]`, in the parameters' precision under autocast too."""
        with torch.autocast(x.device.type, enabled=False):
            y, (hidden, cell) = self.lstm(x.to(state.cell.dtype), (state.hidden[None], state.cell[None]))
        return y, Cells(hidden[0], cell[0])
