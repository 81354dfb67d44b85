"""The configuration of a model, in the form of transformers."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from titans import VERSIONS
from titans.models.config import ModelConfig, from_plain, plain


class TitansConfig(PretrainedConfig):
    """A `ModelConfig`, as `config.json` keeps it.

    Args:
        titans: The fields of a `ModelConfig` as nested dictionaries; those that are missing have their defaults.
        model_version: The version of the model that the weights were trained by: see `titans.VERSIONS`.
        more: Fields of every configuration of transformers.

    Raises:
        ValueError: There is no such model, or it is of another version. The message names the field.
    """

    model_type = "titans"

    def __init__(
        self, titans: dict[str, Any] | None = None, model_version: int = VERSIONS["model"], **more: Any
    ) -> None:
        if model_version != VERSIONS["model"]:
            raise ValueError(
                f"model_version: the weights are of version {model_version} of the model, and this is version "
                f"{VERSIONS['model']}, another function of the same weights; install the package that wrote them"
            )
        self.titans, self.model_version = titans or {}, model_version
        model = self.model
        more |= {"vocab_size": model.vocab_size, "hidden_size": model.dim, "tie_word_embeddings": model.tie_embeddings}
        more |= {"num_hidden_layers": model.n_layers, "num_attention_heads": model.n_heads}
        super().__init__(**more)

    @classmethod
    def of(cls, model: ModelConfig, **more: Any) -> TitansConfig:
        """Return the configuration of a model, with further fields of every configuration of transformers."""
        return cls(plain(model), **more)

    @property
    def model(self) -> ModelConfig:
        """Return the configuration in the form of this library."""
        return from_plain(self.titans)
