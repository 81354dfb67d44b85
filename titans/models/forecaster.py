"""A forecaster of time series, with the blocks of a language model. Tokens are patches of one channel's past."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from titans.mixers.parts import Linear, biased_linear
from titans.models.backbone import Backbone, initialise
from titans.models.config import ModelConfig

Normalisation = Literal["last", "revin"]


class Forecaster(Backbone):
    """The sum of a linear forecast and of a forecast by patches, blocks and a head.

    The linear forecast maps the past's differences from the last value to the future's (NLinear, arXiv 2205.13504). For
    the other, the normalised past of one channel is cut into patches, each embedded as a token (PatchTST, arXiv
    2211.14730), and the head reads the blocks' outputs for all of them. TiDE (arXiv 2304.08424) has such a linear map
    parallel to the blocks. Both maps start at 0, so that the first forecast repeats the last value.

    Args:
        config: Configuration of the blocks; `vocab_size` is not read.
        tokens: Number of patches, a divisor of `look_back`.
        look_back: Steps of the past.
        horizon: Steps of the future.
        normalisation: Normalisation of the blocks' input, undone in their forecast: subtract the "last" value, or
            subtract the mean and divide by the deviation of the past ("revin": reversible instance normalisation
            without the affine map).
        seed: Seed of the initial values, as in `LanguageModel`.

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
        self.embedding = biased_linear(look_back // tokens, config.dim)
        self.head = _zero(Linear(tokens * config.dim, horizon, bias=False))
        self.direct = _zero(Linear(look_back, horizon, bias=False))
        initialise(self, seed)

    def forward(self, past: Tensor) -> Tensor:
        """Return the forecasts `[batch, horizon]` of single channels `[batch, look_back]`."""
        last, (level, scale) = past[:, -1:], self._frame(past)
        patches = ((past - level) / scale).unflatten(1, (self.tokens, -1))
        seen, _ = self.hidden(self.embedding(patches))
        return last + self.direct(past - last) + scale * self.head(seen.flatten(1))

    def _frame(self, past: Tensor) -> tuple[Tensor, Tensor]:
        """Return level and scale `[batch, 1]` of each past `[batch, look_back]`."""
        if self.normalisation == "last":
            return past[:, -1:], torch.ones_like(past[:, -1:])
        variance, mean = torch.var_mean(past, 1, correction=0, keepdim=True)
        return mean, (variance + 1e-5).sqrt()


def _zero(layer: Linear) -> Linear:
    layer.init_std = {"weight": 0.0}  # type: ignore[assignment]
    return layer
