"""Gated DeltaProduct (arXiv 2502.10297): several steps of the delta rule for each token, so several reflections."""

from __future__ import annotations

from dataclasses import dataclass

from titans.mixers.recurrence_cost import SIZES, Sizes, convolution, delta_rule, readout, sizes
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig
from titans.models.config.checks import at_least, at_most

PUBLISHED = {"expand_k": 0.75, "expand_v": 1.5}
SLOWEST = 0.0  # lower end of the uniform distribution of A
MOST_STEPS = 64


@dataclass(frozen=True)
class GatedDeltaProductConfig:
    """Settings of Gated DeltaProduct.

    Attributes:
        steps: Steps of the delta rule for each token, each with a key, a value and a beta of its own.
        negative_eigenvalues: Whether beta is up to 2, so that a step can reflect the state (arXiv 2411.12537), instead
            of up to 1.
    """

    steps: int = 2
    negative_eigenvalues: bool = True

    def __post_init__(self) -> None:
        at_least(self, 1, "steps")
        at_most(self, MOST_STEPS, "steps")


def _steps(config: ModelConfig) -> int:
    return config.settings_of(GatedDeltaProductConfig).steps


def _channels(s: Sizes, steps: int) -> int:
    """Return the width of queries, and of all steps' keys and values, together."""
    return s.keys + steps * (s.keys + s.values)


def _matrices(config: ModelConfig) -> int:
    """Return the parameters of all matrices, which are also their multiply-adds for one token."""
    s, steps = sizes(config, PUBLISHED), _steps(config)
    channels = _channels(s, steps)
    gates = s.dim * s.heads * (steps + 1)
    return s.dim * channels + convolution(channels, s.conv_size) + gates + readout(s, gated=True)


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    rule = delta_rule(sizes(config, PUBLISHED), length, steps=_steps(config))
    return batch * (length * _matrices(config) + rule)


def _state_size(config: ModelConfig, length: int) -> int:
    s = sizes(config, PUBLISHED)
    return s.heads * s.d_k * s.d_v + (s.conv_size - 1) * _channels(s, _steps(config))


MIXER = MixerSpec(
    name="gated_deltaproduct",
    family="linear recurrence",
    summary="Gated DeltaNet with several steps of the delta rule for each token",
    source="Gated DeltaProduct (arXiv 2502.10297)",
    layer="titans.mixers.gated_deltaproduct.layer:GatedDeltaProduct",
    state="titans.mixers.recurrence:MatrixStream",
    reads=SIZES | {"conv_size"},
    published=PUBLISHED,
    settings=GatedDeltaProductConfig,
    parameters=lambda config: _matrices(config) + sizes(config, PUBLISHED).d_v + 2 * config.n_heads,
    multiply_adds=_multiply_adds,
    state_size=_state_size,
    reference="titans.mixers.recurrence:recur_token_by_token",
    golden_loss=6.451172,
)
