"""Models with any combination of switches, which are read from the configurations, so that none is left out."""

from __future__ import annotations

import types
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from hypothesis import strategies as st

from titans.mixers import registry
from titans.models.config import MemoryConfig, ModelConfig, RecurrentConfig
from titans.models.language_model import LanguageModel, use_reference

#: The values to draw from, of each field whose type does not say them. A new field needs a line here, or stays at its
#: default where it is a mixer's own setting. The section is named where others have a field of the same name.
VALUES: dict[str, list[Any]] = {
    "vocab_size": [7], "dim": [8, 12], "n_layers": [1, 2, 3], "n_heads": [1, 2], "mlp_ratio": [1.0],
    "persistent_tokens": [0, 3], "segment_len": [4, 6, 12], "window": [1, 5, 40], "conv_size": [1, 3],
    "attention_conv_size": [1, 3],
    "long_term_tokens": [0, 0, 3], "depth": [1, 2, 3], "expansion": [1, 2], "chunk_size": [1, 2, 3, 4, 6],
    "theta_scale": [0.05], "initial_std": [0.02, 0.3], "eta_bias": [0.0, 1.0], "alpha_bias": [-2.0, 0.0],
    "update_every": [1, 1, 2, 3], "eval_chunk_size": [None, 2, 6], "theta_ceiling": [None, 0.4],
    "theta_budget": [None, 0.1], "objective_power": [1.5, 2.0], "huber_threshold": [0.1, 1.0],
    "memory.window": [1, 1, 2, 5], "gamma_bias": [0.0, -1.0], "feature_degree": [1, 1, 3],
    "steps": [1, 2, 3], "levels": [2, 4, 15],
    "state_size": [None, 3], "expand_k": [None, 0.5], "expand_v": [None, 1.5],
}  # fmt: skip
OWN: dict[type, str] = {kind: mixer for mixer, kind in registry.settings_classes().items()}
SECTIONS: dict[type, str] = {ModelConfig: "", MemoryConfig: "memory", RecurrentConfig: "recurrent"} | OWN


def options(config: type, name: str) -> list[Any]:
    """Return the values that a field of a configuration may be drawn from."""
    for key in (f"{SECTIONS[config]}.{name}", name):
        if key in VALUES:
            return VALUES[key]
    if name == "variant":
        return list(registry.variants())
    hint = get_type_hints(config)[name]
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    found: list[Any] = []
    for part in parts:
        if get_origin(part) is Literal:
            found += get_args(part)
        elif config in OWN and part in (int, float, str):
            found.append(getattr(config(), name))
        else:
            found += {bool: [False, True], types.NoneType: [None]}[part]
    return found


def assembled(values: dict[type, dict[str, Any]]) -> ModelConfig:
    """Return the model with these values of each section."""
    built = {kind: kind(**values.get(kind, {})) for kind in SECTIONS if kind is not ModelConfig}
    shared = {name: built[kind] for kind, name in SECTIONS.items() if kind in built and kind not in OWN}
    return ModelConfig(**values[ModelConfig], **shared, settings=tuple(built[kind] for kind in OWN))


def switches() -> list[tuple[type, str]]:
    """Return every field of the configurations that holds a value."""
    sections = {*SECTIONS.values(), "settings"}
    return [(config, field.name) for config in SECTIONS for field in fields(config) if field.name not in sections]


@st.composite
def configurations(draw: st.DrawFn) -> ModelConfig:
    """Return a model that is possible and does not leak."""
    while True:
        chosen: dict[type, dict[str, Any]] = {config: {} for config in SECTIONS}
        for config, name in switches():
            chosen[config][name] = draw(st.sampled_from(options(config, name)))
        try:
            config = assembled(chosen)
        except ValueError:
            continue
        if not config.leaks:
            return config


def random_model(config: ModelConfig, generator: torch.Generator) -> LanguageModel:
    """Return a float64 model whose tensors all differ from their initial values. A memory drawn as zero stays zero."""
    model = LanguageModel(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def with_the_reference(model: LanguageModel) -> LanguageModel:
    """Return the same model, its mixers computed by their reference implementations."""
    use_reference(model)
    return model
