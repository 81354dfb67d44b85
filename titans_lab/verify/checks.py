"""The checks: equalities that the fast forms have to satisfy, each with its tolerance."""

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

CUTTINGS = 3  # ways to cut a stream, each at up to 3 random places
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.float32,
}  # of parameters and memory
CPU = torch.device("cpu")


class CheckCase(NamedTuple):
    """A configuration to check, with the precision, the device, the seed and the kernel of the fast form."""

    config: ModelConfig
    precision: str
    device: torch.device
    seed: int
    kernel: KernelName = "auto"

    def model(self, config: ModelConfig, training: bool) -> LanguageModel:
        """Return the model with the fast form to check."""
        model = drawn_model(config, self.seed, training).to(self.device, DTYPES[self.precision])
        use_kernel(model, self.kernel)
        return model


def operator_error(case: CheckCase) -> float:
    """Return the operator's error against the reference implementation: outputs, final state and every gradient."""
    config = for_operator(case.config)
    return largest(error for training in modes(config) for error in _operator_errors(case, config, training))


def _operator_errors(case: CheckCase, config: ModelConfig, training: bool) -> Iterator[float]:
    operator = memories(case.model(config, training))[0].operator
    for call, true in recurrences(config, case.seed, training):
        yield worst_error(results(operator, call, DTYPES[case.precision], case.device), true)


@lru_cache(maxsize=2)  # the other precisions use the same
def recurrences(config: ModelConfig, seed: int, training: bool) -> list[tuple[Call, list[Tensor]]]:
    """Return calls of awkward lengths with what the reference implementation gives for them."""
    model = drawn_model(config, seed, training)
    chunk = memories(model)[0].chunk_size
    given = recorded(model, drawn_tokens(config, 2 * chunk + 1, seed))
    lengths = {1, chunk - 1, chunk, 2 * chunk + 3} | ({BLOCK + 3} if chunk == config.memory.depth == 1 else set())
    calls = [redrawn(given, time, seed) for time in sorted(lengths - {0})]
    return [(call, results(naive_neural_memory, call, torch.float64, CPU)) for call in calls]


def model_error(case: CheckCase) -> float:
    """Return the error of a whole sequence against token-by-token reading with the reference implementation.

    The logits are compared, and their gradient with respect to every parameter. In bfloat16 only the logits are
    compared, because a second-order gradient amplifies its rounding errors of 1/256 up to 1.
    """
    config, compared = for_model(case.config), 1 if case.precision == "bfloat16" else None
    return largest(
        worst_error(_whole(case, config, training)[:compared], by_token(config, case.seed, training)[:compared])
        for training in modes(config)
    )


def _whole(case: CheckCase, config: ModelConfig, training: bool) -> list[Tensor]:
    model, tokens = case.model(config, training), drawn_tokens(config, length(config), case.seed)
    with products_in(case.precision, case.device):
        logits = model(tokens.to(case.device))
    return with_gradients([logits], list(model.parameters()))


@lru_cache(maxsize=2)
def by_token(config: ModelConfig, seed: int, training: bool) -> list[Tensor]:
    model, tokens = drawn_model(config, seed, training).double(), drawn_tokens(config, length(config), seed)
    use_reference(model)
    return with_gradients([in_parts(model, tokens, range(1, tokens.shape[1]))], list(model.parameters()))


@torch.no_grad()
def streaming_error(case: CheckCase) -> float:
    """Return the error of the logits of a whole sequence against those of the same sequence in parts."""
    config, draw = for_model(case.config), random.Random(case.seed)
    model, count = case.model(config, training=False), length(config)
    tokens = drawn_tokens(config, count, case.seed).to(case.device)
    cuttings = [sorted(draw.sample(range(1, count), min(3, count - 1))) for _ in range(CUTTINGS)]
    with products_in(case.precision, case.device):
        whole = model(tokens)
        return largest(worst_error([in_parts(model, tokens, cuts)], [whole]) for cuts in cuttings)


def causality_error(case: CheckCase) -> float:
    """Return the largest derivative of an output with respect to a later embedded token."""
    config = for_model(case.config)
    return largest(_leak(case, config, training) for training in modes(config))


def _leak(case: CheckCase, config: ModelConfig, training: bool) -> float:
    """Return the largest leak of one sequence. Row r of the batch takes the outputs up to r: all prefixes together."""
    model, tokens = case.model(config, training), drawn_tokens(config, length(config), case.seed)[:1]
    earlier = torch.ones(tokens.shape[1], tokens.shape[1], device=case.device).tril().unsqueeze(-1)
    x = model.embedding(tokens.to(case.device)).detach().repeat(len(earlier), 1, 1).requires_grad_()
    with products_in(case.precision, case.device):
        y, _ = model.mix(x, model.start(len(earlier)))
    (gradient,) = torch.autograd.grad(projection([y * earlier]), x)
    return float((gradient * (1 - earlier)).abs().max())


def results(operator: Operator, call: Call, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Return a call's output and end state, and the gradients of a random projection of both for all of its inputs."""
    given = {
        name: mapped(lambda x: x.detach().to(device, dtype).requires_grad_(), value) for name, value in call.items()
    }
    return with_gradients(tensors(operator(**given)), tensors(given))


def with_gradients(values: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    """Return the values of any shape `[...]`, and the gradient of a random projection of them for each leaf."""
    leaves = [x for x in leaves if x.requires_grad]
    gradients = torch.autograd.grad(projection(values), leaves, allow_unused=True)
    zeros = (torch.zeros_like(x) for x in leaves)
    return [x.detach() for x in values] + [z if g is None else g for g, z in zip(gradients, zeros, strict=True)]


def projection(values: list[Tensor]) -> Tensor:
    """Return the sum of values of any shape `[...]` with normal weights, the same for every device and precision."""
    generator = torch.Generator().manual_seed(1)
    weights = (torch.randn(x.shape, generator=generator).to(x.device, torch.float64) for x in values)
    return torch.stack([(x.double() * w).sum() for x, w in zip(values, weights, strict=True)]).sum()


def worst_error(found: list[Tensor], true: list[Tensor]) -> float:
    """Return the largest difference over the larger of 1 and the largest true value, by tensor of any shape `[...]`."""
    pairs = ((a.double().cpu(), b.double().cpu()) for a, b in zip(found, true, strict=True) if b.numel())
    return largest(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)


def largest(errors: Iterable[float]) -> float:
    """Return the largest error; NaN where one is."""
    return float(torch.tensor(list(errors), dtype=torch.float64).max())


#: Each check and its tolerances. A wrong operator makes errors from 0.1 on. Rounding over 370 drawn configurations made
#: 5e-13 in float64; 5e-5 in float32, in which the operator computes under bfloat16, too; 0.01 in streams with bfloat16
#: products. The logits of those were off by up to 0.16 (mac at depth 4; 125 configurations): there the model's check
#: sees gross faults alone, and the operator's check sees the rest. The influence of a later token is exactly 0.
CHECKS: dict[str, tuple[Callable[[CheckCase], float], dict[str, float]]] = {
    "operator": (operator_error, {"float64": 1e-9, "float32": 1e-3, "bfloat16": 1e-3}),
    "model": (model_error, {"float64": 1e-9, "float32": 1e-3, "bfloat16": 0.5}),
    "streaming": (streaming_error, {"float64": 1e-9, "float32": 1e-3, "bfloat16": 0.1}),
    "causality": (causality_error, {"float64": 0.0, "float32": 0.0, "bfloat16": 0.0}),
}
