"""The layer of Gated DeltaProduct (arXiv 2502.10297)."""

from __future__ import annotations

import torch
from torch import Tensor

from titans.mixers.gated_deltaproduct import PUBLISHED, SLOWEST, GatedDeltaProductConfig
from titans.mixers.parts import Linear, Projection
from titans.mixers.recurrence import Decay, MatrixMixer, MatrixStream, Readout, projected
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import gated_delta_product


class GatedDeltaProduct(MatrixMixer):
    """Gated DeltaNet whose tokens have one query and one decay, and a key, a value and a beta for each step."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, gated_delta_product)
        settings, widths = config.settings_of(GatedDeltaProductConfig), sizes(config, PUBLISHED)
        self.steps, self.largest_beta = settings.steps, 2.0 if settings.negative_eigenvalues else 1.0
        self.state_shape = (widths.heads, widths.d_k, widths.d_v)
        dim, heads, all_heads = config.dim, config.n_heads, settings.steps * config.n_heads
        form = (widths.conv_size, True)
        self.q = Projection(dim, widths.keys, heads, *form, unit=True)
        self.k = Projection(dim, settings.steps * widths.keys, all_heads, *form, unit=True)
        self.v = Projection(dim, settings.steps * widths.values, all_heads, *form, unit=False)
        self.beta = Linear(dim, all_heads, bias=False)
        self.step = Linear(dim, heads, bias=False)
        self.decay = Decay(heads, SLOWEST)
        self.readout = Readout(widths, gated=True)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token."""
        return MatrixStream(self.beta.weight.new_zeros(batch, *self.state_shape), (None, None, None))

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        (q, k, v), tails = projected((self.q, self.k, self.v), x, stream.tails)
        beta = self.largest_beta * torch.sigmoid(self.beta(x).mT)
        steps = (y.unflatten(1, (self.steps, -1)).movedim(1, 3) for y in (k, v, beta))
        _, log_decay = self.decay(self.step(x))
        y, state = self.recur(stream.state, q, *steps, log_decay)
        return self.readout(y, x), MatrixStream(state, tails)
