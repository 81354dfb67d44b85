"""The configuration of a model, as frozen dataclasses without torch, so that planning is instant.

Where the Titans paper leaves a value open, the default is this project's and its description says so. The paper has two
editions: "the arXiv v1" is arXiv 2501.00663v1, "the NeurIPS 2025 camera-ready" settles most of what it leaves open.
"""

from titans.models.config.effective import effective, flatten, from_plain, plain
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
    "flatten",
    "from_plain",
    "plain",
    "reads",
]
