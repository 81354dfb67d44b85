"""What a model is: frozen configurations, without torch, so that planning is instant.

Paper = arXiv 2501.00663v1 ("V1"); N25 = its NeurIPS 2025 camera-ready. Where the papers leave a value
open, the default is ours and its comment says why.
"""

from titans.models.config.effective import effective, plain
from titans.models.config.keys import reads
from titans.models.config.memory import Activation, InnerLoss, MemoryConfig
from titans.models.config.model import Combination, ModelConfig
from titans.models.config.recurrent import RecurrentConfig

__all__ = [
    "Activation",
    "Combination",
    "InnerLoss",
    "MemoryConfig",
    "ModelConfig",
    "RecurrentConfig",
    "effective",
    "plain",
    "reads",
]
