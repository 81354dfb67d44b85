"""Draw random models, tokens and operator calls on the CPU in float32, the same for every device and precision.

No number is special: gates differ from token to token, gains are not 1, and momentum is not 0.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from titans.mixers.lmm.layer import NeuralMemory
from titans.models.config import ModelConfig
from titans.models.language_model import LanguageModel
from titans.ops import neural_memory

BATCH = 2
SPREAD = 0.1  # the noise on biases and gains; a matrix gets half of its initial standard deviation
OF_STREAM = ("state", "recent")  # the arguments of the operator whose size does not depend on the call's tokens

#: The operator's arguments by name.
Call: TypeAlias = dict[str, Any]


@torch.no_grad()
def drawn_model(config: ModelConfig, seed: int, training: bool) -> LanguageModel:
    """Return a model as training starts it, plus noise on every parameter."""
    model = LanguageModel(config, seed).train(training)
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        std = 0.5 * p.shape[-1] ** -0.5 if p.ndim > 1 and p.numel() else SPREAD
        p.add_(std * torch.randn(p.shape, generator=generator))
    return model


def drawn_tokens(config: ModelConfig, count: int, seed: int) -> Tensor:
    """Return random tokens `[batch, count]`."""
    return torch.randint(config.vocab_size, (BATCH, count), generator=torch.Generator().manual_seed(seed))


def memories(model: LanguageModel) -> list[NeuralMemory]:
    """Return the memories of a model, in order."""
    return [module for module in model.modules() if isinstance(module, NeuralMemory)]


@torch.no_grad()
def recorded(model: LanguageModel, tokens: Tensor) -> Call:
    """Return the first memory's operator call with the most of the tokens `[batch, time]`, and with the last state.

    What the tokens before a call wrote, for a window, is that of the last call too.
    """
    calls: list[Call] = []
    memory = memories(model)[0]
    operator, signature = memory.operator, inspect.signature(neural_memory)

    def record(*arguments: Any, **switches: Any) -> Any:
        calls.append(signature.bind(*arguments, **switches).arguments)
        return operator(*arguments, **switches)

    memory.operator = record
    model(tokens)
    memory.operator = operator
    last = {name: calls[-1][name] for name in OF_STREAM}
    return max(calls, key=lambda call: call["q"].shape[0] * call["q"].shape[2]) | last


def redrawn(call: Call, time: int, seed: int) -> Call:
    """Return a call of any length with numbers that the layer gave for each argument: in its range and at its scale."""
    generator = torch.Generator().manual_seed(seed + time)

    def sample(x: Tensor, lasting: bool) -> Tensor:
        shape = (*x.shape[:2], time, *x.shape[3:]) if lasting else x.shape
        return x.flatten()[torch.randint(x.numel(), shape, generator=generator)]

    return {name: mapped(partial(sample, lasting=name not in OF_STREAM), value) for name, value in call.items()}


def mapped(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Return the same tuples and named tuples with a function applied to each tensor, of any shape `[...]`."""
    if isinstance(tree, Tensor):
        return function(tree)
    if not isinstance(tree, tuple):
        return tree
    parts = [mapped(function, part) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def tensors(tree: Any) -> list[Tensor]:
    """Return all tensors in a call, an answer or a state, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple) else ()
    return [x for part in parts for x in tensors(part)]


def in_parts(model: LanguageModel, tokens: Tensor, cuts: Iterable[int]) -> Tensor:
    """Return the logits `[batch, time, vocab]` of tokens `[batch, time]` that a model reads in parts, cut at `cuts`."""
    state, parts = model.start(tokens.shape[0]), []
    for begin, end in itertools.pairwise([0, *cuts, tokens.shape[1]]):
        y, state = model.advance(tokens[:, begin:end], state)
        parts.append(y)
    return torch.cat(parts, 1)
