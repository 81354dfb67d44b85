"""Forecasts of time series with the same blocks as a language model's: tokens are patches of one channel's past."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from titans.mixers.parts import linear
from titans.models.backbone import Backbone, initialise
from titans.models.config import ModelConfig

Normalisation = Literal["last", "revin"]


class Forecaster(Backbone):
    """A linear forecast, and what patches, blocks and a head add to it.

    The linear forecast gives the future's differences to the last value from the past's (NLinear, arXiv 2205.13504).
    The rest has the past of one channel, normalised and cut into patches that follow one another, each embedded as a
    token (PatchTST, arXiv 2211.14730); its head sees what the blocks give for all of them. Such a linear map beside the
    blocks is TiDE's (arXiv 2304.08424). Both begin at 0, so that the first forecast repeats the last value.

    Args:
        config: Of the blocks; `vocab_size` is not read.
        tokens: Patches, a divisor of `look_back`.
        look_back: Steps of the past.
        horizon: Steps of the future.
        normalisation: Of what the blocks see, undone in what they add: less the "last" value, or less the past's mean
            and over its deviation ("revin": reversible instance normalisation without the affine map).
        seed: Of the initial values.

    Raises:
        ValueError: `tokens` does not divide `look_back`.
    """

    def __init__(
        self, config: ModelConfig, tokens: int, look_back: int, horizon: int,
        normalisation: Normalisation = "last", seed: int = 0,
    ) -> None:  # fmt: skip
        if look_back % tokens:
            raise ValueError(f"tokens: {tokens} patches do not divide a look-back of {look_back} steps")
        super().__init__(config)
        self.tokens, self.normalisation = tokens, normalisation
        self.embedding = linear(look_back // tokens, config.dim)
        self.head = _zero(nn.Linear(tokens * config.dim, horizon, bias=False))
        self.direct = _zero(nn.Linear(look_back, horizon, bias=False))
        initialise(self, seed)

    def forward(self, past: Tensor) -> Tensor:
        """`[batch, look_back]`, one channel each, to `[batch, horizon]`."""
        last, (level, scale) = past[:, -1:], self._frame(past)
        patches = ((past - level) / scale).unflatten(1, (self.tokens, -1))
        seen, _ = self.hidden(self.embedding(patches))
        return last + self.direct(past - last) + scale * self.head(seen.flatten(1))

    def _frame(self, past: Tensor) -> tuple[Tensor, Tensor]:
        """Level and scale `[batch, 1]` of each past."""
        if self.normalisation == "last":
            return past[:, -1:], torch.ones_like(past[:, -1:])
        variance, mean = torch.var_mean(past, 1, correction=0, keepdim=True)
        return mean, (variance + 1e-5).sqrt()


def _zero(layer: nn.Linear) -> nn.Linear:
    layer.init_std = {"weight": 0.0}  # type: ignore[assignment]
    return layer
