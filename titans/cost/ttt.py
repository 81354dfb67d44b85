"""TTT-Linear and TTT-MLP: the cost of the memory that each is."""

from __future__ import annotations

from titans.cost.memory import LMM
from titans.cost.mixer import MixerCost
from titans.models.config import ttt_memory


def _of(mixer: str) -> MixerCost:
    return MixerCost(
        lambda config: LMM.parameters(ttt_memory(config, mixer)),
        lambda config, length, batch: LMM.products(ttt_memory(config, mixer), length, batch),
        lambda config, length: LMM.state(ttt_memory(config, mixer), length),
    )


TTT_LINEAR, TTT_MLP = _of("ttt_linear"), _of("ttt_mlp")
