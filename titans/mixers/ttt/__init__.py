"""TTT-Linear and TTT-MLP (Sun et al., arXiv 2407.04620): the long-term memory without momentum and forgetting."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from titans.mixers.lmm import MIXER as LMM
from titans.mixers.spec import MixerSpec
from titans.models.config import MemoryConfig, ModelConfig

#: Depth of the inner model, and its base learning rate.
FORMS: dict[str, tuple[int, float]] = {"ttt_linear": (1, 1.0), "ttt_mlp": (2, 0.1)}


@dataclass(frozen=True)
class TTTLinearConfig:
    """Settings of TTT-Linear.

    Attributes:
        initial_std: Standard deviation of the inner model's initial weights as they are drawn; the authors' code has
            0.02. The inner model's LayerNorm divides by what they give, so the smaller they are, the more a write does.
    """

    initial_std: float = 0.02

    def __post_init__(self) -> None:
        if self.initial_std <= 0:
            raise ValueError(f"initial_std: {self.initial_std} is not above 0")


@dataclass(frozen=True)
class TTTMLPConfig(TTTLinearConfig):
    """Settings of TTT-MLP.

    Attributes:
        initial_std: Standard deviation of the inner model's initial weights as they are drawn; the authors' code has
            0.02. The inner model's LayerNorm divides by what they give, so the smaller they are, the more a write does.
    """


#: The class of each mixer's settings.
SETTINGS: dict[str, type[TTTLinearConfig]] = {"ttt_linear": TTTLinearConfig, "ttt_mlp": TTTMLPConfig}


def ttt_memory(config: ModelConfig, mixer: str) -> ModelConfig:
    """Return the configuration of the `lmm` that computes a mixer of `FORMS`.

    The model for comparison is the authors' code, ttt-lm-pytorch, with the backbone that has convolutions and a gate.

    The same: inner model x + LayerNorm(f(x)) with a learned gain; half the squared error; chunks of 16 tokens; no
    momentum, no forgetting; learned initial weights, drawn with a standard deviation of 0.02; step sizes base rate /
    head width / chunk x sigmoid(w x + b).

    Different: q and k have a matrix each, where theirs share one. v has a convolution too. Convolutions have no bias.
    Norm and gate of the output are those of this project's other memories.

    Missing: the convolution before the layer, the biases of f and of its norm, rotary positions inside a chunk, and the
    larger steps, with a learned scale, for tokens that read early in a chunk.
    """
    depth, base_rate = FORMS[mixer]
    memory = MemoryConfig(
        depth=depth, expansion=4, chunk_size=config.memory.chunk_size, momentum=False, forgetting=False, loss="half",
        gain="learned", gates_per_layer=False, theta_scale=base_rate / (2 * config.head_dim),
        initial_std=config.settings_of(SETTINGS[mixer]).initial_std,
    )  # fmt: skip
    return dataclasses.replace(
        config, variant="lmm", persistent_tokens=0, qkv_activation="none", qk_l2_norm=False, memory=memory
    )


def _spec(name: str, layer: str, summary: str, golden_loss: float) -> MixerSpec:
    """Return the specification of a form, whose costs are those of its memory."""
    return MixerSpec(
        name=name,
        family="test-time training",
        summary=summary,
        source="TTT (arXiv 2407.04620)",
        layer=f"titans.mixers.ttt.layer:{layer}",
        state="titans.mixers.lmm.layer:MemoryStream",
        reads=frozenset({"n_heads", "conv_size", "memory.chunk_size"}),
        head_multiple=1,
        settings=SETTINGS[name],
        reference=LMM.reference,
        torch_only=lambda config: LMM.torch_only(ttt_memory(config, name)),
        parameters=lambda config: LMM.parameters(ttt_memory(config, name)),
        multiply_adds=lambda config, length, batch: LMM.multiply_adds(ttt_memory(config, name), length, batch),
        state_size=lambda config, length: LMM.state_size(ttt_memory(config, name), length),
        golden_loss=golden_loss,
    )


LINEAR = _spec("ttt_linear", "TTTLinear", "a linear memory trained without momentum and forgetting", 6.811455)
MLP = _spec("ttt_mlp", "TTTMLP", "a memory of two layers trained without momentum and forgetting", 6.595207)
