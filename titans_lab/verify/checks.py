"""The equivalences that the lab rests on, and how far off each may be."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from titans.mixers.lmm.layer import Operator
from titans.models.config import ModelConfig
from titans.models.language_model import LanguageModel, use_kernel, use_reference
from titans.ops import naive_neural_memory
from titans.ops.neural_memory.kernels import KernelName
from titans.ops.neural_memory.linear import BLOCK
from titans_lab.training.precision import products_in
from titans_lab.verify.draw import (
    Call,
    drawn_model,
    drawn_tokens,
    in_parts,
    mapped,
    memories,
    recorded,
    redrawn,
    tensors,
)
from titans_lab.verify.reduced import for_model, for_operator, length, modes

CUTTINGS = 3  # of a stream, at up to 3 random places each
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.float32}  # of parameters and memory
CPU = torch.device("cpu")


class Setting(NamedTuple):
    """How, where and with which random numbers a configuration is checked."""

    config: ModelConfig
    precision: str
    device: torch.device
    seed: int
    kernel: KernelName = "auto"

    def model(self, config: ModelConfig, training: bool) -> LanguageModel:
        """The one to check."""
        model = drawn_model(config, self.seed, training).to(self.device, DTYPES[self.precision])
        use_kernel(model, self.kernel)
        return model


def operator_error(setting: Setting) -> float:
    """The operator of the layers against the oracle on the same inputs: outputs, end state and every gradient."""
    config = for_operator(setting.config)
    return largest(error for training in modes(config) for error in _operator_errors(setting, config, training))


def _operator_errors(setting: Setting, config: ModelConfig, training: bool) -> Iterator[float]:
    operator = memories(setting.model(config, training))[0].operator
    for call, true in _recurrences(config, setting.seed, training):
        yield worst_error(results(operator, call, DTYPES[setting.precision], setting.device), true)


@lru_cache(maxsize=2)  # for the precisions that follow
def _recurrences(config: ModelConfig, seed: int, training: bool) -> list[tuple[Call, list[Tensor]]]:
    """Calls of awkward lengths, and what the oracle makes of them."""
    model = drawn_model(config, seed, training)
    chunk = memories(model)[0].chunk_size
    given = recorded(model, drawn_tokens(config, 2 * chunk + 1, seed))
    lengths = {1, chunk - 1, chunk, 2 * chunk + 3} | ({BLOCK + 3} if chunk == config.memory.depth == 1 else set())
    calls = [redrawn(given, time, seed) for time in sorted(lengths - {0})]
    return [(call, results(naive_neural_memory, call, torch.float64, CPU)) for call in calls]


def model_error(setting: Setting) -> float:
    """A whole sequence against one token at a time with the oracle: logits, and their gradient by every parameter.

    In bfloat16 the logits alone: a gradient of second order makes up to 1 of its roundings of 1/256.
    """
    config, compared = for_model(setting.config), 1 if setting.precision == "bfloat16" else None
    return largest(
        worst_error(_whole(setting, config, training)[:compared], _by_token(config, setting.seed, training)[:compared])
        for training in modes(config)
    )


def _whole(setting: Setting, config: ModelConfig, training: bool) -> list[Tensor]:
    model, tokens = setting.model(config, training), drawn_tokens(config, length(config), setting.seed)
    with products_in(setting.precision, setting.device):
        logits = model(tokens.to(setting.device))
    return with_gradients([logits], list(model.parameters()))


@lru_cache(maxsize=2)
def _by_token(config: ModelConfig, seed: int, training: bool) -> list[Tensor]:
    model, tokens = drawn_model(config, seed, training).double(), drawn_tokens(config, length(config), seed)
    use_reference(model)
    return with_gradients([in_parts(model, tokens, range(1, tokens.shape[1]))], list(model.parameters()))


@torch.no_grad()
def streaming_error(setting: Setting) -> float:
    """Logits of a whole sequence against those of the same one cut anywhere."""
    config, draw = for_model(setting.config), random.Random(setting.seed)
    model, count = setting.model(config, training=False), length(config)
    tokens = drawn_tokens(config, count, setting.seed).to(setting.device)
    cuttings = [sorted(draw.sample(range(1, count), min(3, count - 1))) for _ in range(CUTTINGS)]
    with products_in(setting.precision, setting.device):
        whole = model(tokens)
        return largest(worst_error([in_parts(model, tokens, cuts)], [whole]) for cuts in cuttings)


def causality_error(setting: Setting) -> float:
    """The largest derivative of an output by a later embedded token."""
    config = for_model(setting.config)
    return largest(_leak(setting, config, training) for training in modes(config))


def _leak(setting: Setting, config: ModelConfig, training: bool) -> float:
    """Row r of a batch asks for its outputs up to r: of one sequence, all prefixes at once."""
    model, tokens = setting.model(config, training), drawn_tokens(config, length(config), setting.seed)[:1]
    earlier = torch.ones(tokens.shape[1], tokens.shape[1], device=setting.device).tril().unsqueeze(-1)
    x = model.embedding(tokens.to(setting.device)).detach().repeat(len(earlier), 1, 1).requires_grad_()
    with products_in(setting.precision, setting.device):
        y, _ = model.mix(x, model.start(len(earlier)))
    (gradient,) = torch.autograd.grad(projection([y * earlier]), x)
    return float((gradient * (1 - earlier)).abs().max())


def results(operator: Operator, call: Call, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Output and end state of a call, and the gradient of a random projection of both by all that it was given."""
    given = {
        name: mapped(lambda x: x.detach().to(device, dtype).requires_grad_(), value) for name, value in call.items()
    }
    return with_gradients(tensors(operator(**given)), tensors(given))


def with_gradients(values: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    """The values, and the gradient of a random projection of them by each leaf."""
    leaves = [x for x in leaves if x.requires_grad]
    gradients = torch.autograd.grad(projection(values), leaves, allow_unused=True)
    zeros = (torch.zeros_like(x) for x in leaves)
    return [x.detach() for x in values] + [z if g is None else g for g, z in zip(gradients, zeros, strict=True)]


def projection(values: list[Tensor]) -> Tensor:
    """Their sum with weights from a normal distribution, the same for every device and precision."""
    generator = torch.Generator().manual_seed(1)
    weights = (torch.randn(x.shape, generator=generator).to(x.device, torch.float64) for x in values)
    return torch.stack([(x.double() * w).sum() for x, w in zip(values, weights, strict=True)]).sum()


def worst_error(found: list[Tensor], true: list[Tensor]) -> float:
    """Largest difference over the larger of 1 and the largest true value, tensor by tensor."""
    pairs = ((a.double().cpu(), b.double().cpu()) for a, b in zip(found, true, strict=True) if b.numel())
    return largest(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)


def largest(errors: Iterable[float]) -> float:
    """NaN where one is."""
    return float(torch.tensor(list(errors), dtype=torch.float64).max())


#: Each check, and the largest error that it lets pass. A wrong operator makes errors from 0.1 on. Rounding, over 370
#: drawn configurations: 5e-13 in float64; 5e-5 in float32, which the operator computes in under bfloat16 too; 0.01 in
#: streams of bfloat16 products. Their logits were off by up to 0.16 (memory as context, depth 4; 125 configurations):
#: there the model's check sees gross faults alone, and the operator's the rest. What a later token adds is exactly 0.
CHECKS: dict[str, tuple[Callable[[Setting], float], dict[str, float]]] = {
    "operator": (operator_error, {"float64": 1e-9, "float32": 1e-3, "bfloat16": 1e-3}),
    "model": (model_error, {"float64": 1e-9, "float32": 1e-3, "bfloat16": 0.5}),
    "streaming": (streaming_error, {"float64": 1e-9, "float32": 1e-3, "bfloat16": 0.1}),
    "causality": (causality_error, {"float64": 0.0, "float32": 0.0, "bfloat16": 0.0}),
}
