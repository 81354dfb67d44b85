"""A sequence mixer of your own: an exponential moving average with a learned decay for each channel.

This file is the specification. It imports no torch, so that `titans-lab plan` stays fast. The layer is in layer.py, the
tests are in test_example_plugin.py. A study uses the mixer by naming this folder:

    plugins: [example_plugin]
    base: {model: {variant: example_plugin, example_plugin: {chunk_size: 64}}}
"""

from __future__ import annotations

from dataclasses import dataclass, field

from titans.mixers.counts import squares
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig


@dataclass(frozen=True)
class Settings:
    """The settings of the mixer, which a study sets as `model.example_plugin.<field>`. Every field has a default.

    Attributes:
        chunk_size: Tokens that are computed together. It changes only the speed, so it is not part of a run's id.
        horizon: Tokens over which a channel averages at the start of training.
    """

    chunk_size: int = field(default=32, metadata={"identity": False})
    horizon: float = 8.0

    def __post_init__(self) -> None:
        if self.chunk_size < 1:
            raise ValueError(f"chunk_size: {self.chunk_size} is below 1")
        if not self.horizon > 1:
            raise ValueError(f"horizon: {self.horizon} is not above 1")


# The closed forms below are compared with the layer's counted parameters and FLOPs by the tests.


def _parameters(config: ModelConfig) -> int:
    """Return the parameters: three square matrices and a decay for each channel."""
    return 3 * config.dim**2 + config.dim


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    """Return the matrices, and in each chunk a product of every token with every other for each channel."""
    pairs = squares(length, config.settings_of(Settings).chunk_size)
    return batch * (3 * length * config.dim**2 + pairs * config.dim)


MIXER = MixerSpec(
    name="example_plugin",
    summary="an exponential moving average with a learned decay for each channel",
    source="yours",
    layer=f"{__name__}.layer:MovingAverage",
    state=f"{__name__}.layer:Average",
    settings=Settings,
    parameters=_parameters,
    multiply_adds=_multiply_adds,
    state_size=lambda config, length: config.dim,
    reference=f"{__name__}.layer:average_token_by_token",  # what `titans-lab verify` compares the layer with
)
