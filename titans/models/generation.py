"""Generation of text, and states of streams in files."""

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
    """Return the state after a prompt of any length, in constant memory.

    Args:
        model: What reads.
        tokens: The prompt, `[batch, time]`.
        state: The state before the prompt. None: the prompt is the beginning.
        piece: Tokens that are read at a time.
    """
    state = model.start(tokens.shape[0]) if state is None else state
    for begin in range(0, tokens.shape[1], piece):
        _, state = model.advance(tokens[:, begin : begin + piece], state)
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
    """Return a continuation `[batch, count]` of a prompt.

    Args:
        model: What generates.
        prompt: `[batch, time]`, at least one token.
        count: Number of tokens to draw.
        temperature: Divisor of the logits; 0 takes the most likely token.
        generator: Source of random numbers; None: torch's default.
        state: The state before the prompt, for example of `prefill`. None: the prompt is the beginning.

    Raises:
        ValueError: The prompt is empty.
    """
    if not prompt.shape[1]:
        raise ValueError("prompt: has no token; give at least one")
    state = prefill(model, prompt[:, :-1], state)
    token, drawn = prompt[:, -1:], []
    for _ in range(count):
        logits, state = model.advance(token, state)
        last = logits[:, -1].float()
        if temperature == 0:
            token = last.argmax(-1, keepdim=True)
        else:
            token = torch.multinomial(torch.softmax(last / temperature, -1), 1, generator=generator)
        drawn.append(token)
    return torch.cat(drawn, 1) if drawn else prompt[:, :0]


def save_state(state: ModelState, path: Path) -> None:
    """Write a state to a file."""
    torch.save(state, path)


def load_state(path: Path, device: torch.device | None = None) -> ModelState:
    """Read a state that `save_state` wrote. A file that holds anything but states of mixers is refused."""
    specs = (registry.spec(name) for name in registry.variants())
    states = {pkgutil.resolve_name(spec.state) for spec in specs if isinstance(spec, MixerSpec)}
    allowed: list[Any] = list({kind for state in states for kind in _named_tuples(state)})
    with torch.serialization.safe_globals(allowed):
        state: ModelState = torch.load(path, map_location=device, weights_only=True)
    return state


def _named_tuples(hint: Any) -> Iterator[type]:
    """Yield the named tuples in a type hint, and those in the fields of others."""
    is_named = hasattr(hint, "_fields")
    if is_named:
        yield hint
    for part in get_type_hints(hint).values() if is_named else get_args(hint):
        yield from _named_tuples(part)
