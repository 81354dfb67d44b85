"""Prompt in, continuation out, and the state in between on disk."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor

from titans.mixers import registry
from titans.mixers.spec import MixerSpec
from titans.models.language_model import LanguageModel, ModelState


@torch.no_grad()
def prefill(model: LanguageModel, tokens: Tensor, state: ModelState | None = None, piece: int = 4096) -> ModelState:
    """The state after a prompt `[batch, time]` of any length, in pieces, so that memory stays constant."""
    state = model.start(tokens.shape[0]) if state is None else state
    for part in tokens.split(piece, 1) if tokens.shape[1] else ():  # which would be one without a token
        _, state = model.advance(part, state)
    return state


@torch.no_grad()
def generate(
    model: LanguageModel,
    prompt: Tensor,
    count: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    state: ModelState | None = None,
) -> Tensor:
    """Draw `count` tokens after a prompt `[batch, time]`; temperature 0 takes the likeliest. `[batch, count]`.

    With a state the prompt goes on from there, so that a long one can come in pieces: `prefill`, its last token here.

    Raises:
        ValueError: An empty prompt: there is nothing to predict from.
    """
    if not prompt.shape[1]:
        raise ValueError("prompt: has no token; give at least one")
    state = prefill(model, prompt[:, :-1], state)
    token, drawn = prompt[:, -1:], []
    for _ in range(count):
        logits, state = model.advance(token, state)
        token = _draw(logits[:, -1].float(), temperature, generator)
        drawn.append(token)
    return torch.cat(drawn, 1) if drawn else prompt[:, :0]


def _draw(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=generator)


def save_state(state: ModelState, path: Path) -> None:
    """Write a state to a file."""
    torch.save(state, path)


def load_state(path: Path, device: torch.device | None = None) -> ModelState:
    """Read a state that `save_state` wrote; a file that holds anything else is refused."""
    with torch.serialization.safe_globals(_state_types()):
        state: ModelState = torch.load(path, map_location=device, weights_only=True)
    return state


def _state_types() -> list[Any]:
    """Return the named tuples that the mixers' states are made of: all classes that a file of a state may name."""
    specs = (registry.spec(name) for name in registry.variants())
    states = {pkgutil.resolve_name(spec.state) for spec in specs if isinstance(spec, MixerSpec)}
    return list({kind for state in states for kind in _named_tuples(state)})


def _named_tuples(hint: Any) -> Iterator[type]:
    """The named tuples in a type hint, those in the fields of others included."""
    is_named = hasattr(hint, "_fields")
    if is_named:
        yield hint
    for part in get_type_hints(hint).values() if is_named else get_args(hint):
        yield from _named_tuples(part)
