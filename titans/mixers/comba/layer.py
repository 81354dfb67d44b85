"""The layer of Comba (arXiv 2506.02475)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from titans.mixers.comba import PUBLISHED, SLOWEST, CombaConfig
from titans.mixers.parts import Linear
from titans.mixers.recurrence import Decay, MatrixMixer, MatrixStream, QueryKeyValue, Readout
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import comba


class Comba(MatrixMixer):
    """Gated DeltaNet with two feedbacks for each head, and a sigmoid gate on the output.

    A token erases with the key sigmoid(b) k, which finds the state before the decay. It reads with q - d k.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, comba)
        widths = sizes(config, PUBLISHED)
        self.inputs = QueryKeyValue(widths, silu=True, unit=True)
        self.beta, self.step = (Linear(config.dim, config.n_heads, bias=False) for _ in range(2))
        self.decay = Decay(config.n_heads, SLOWEST)
        self.state_feedback = nn.Parameter(torch.ones(config.n_heads))
        self.output_feedback = nn.Parameter(
            torch.full((config.n_heads,), config.settings_of(CombaConfig).output_feedback)
        )
        self.readout = Readout(widths, gated=True, activation=torch.sigmoid)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return self.inputs.start(batch)

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        q, k, v, tails = self.inputs(x, stream.tails)
        beta = torch.sigmoid(self.beta(x).mT)
        _, log_decay = self.decay(self.step(x))
        erased = torch.sigmoid(self.state_feedback).view(-1, 1, 1) * k
        read = q - self.output_feedback.view(-1, 1, 1) * k
        y, state = self.recur(stream.state, read, k, v, erased, beta, log_decay)
        return self.readout(y, x), MatrixStream(state, tails)
