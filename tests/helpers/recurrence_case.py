"""Random arguments of the recurrences with a matrix for a state, and the comparison of two forms of one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Operator = Callable[..., tuple[Tensor, Tensor]]
BATCH, HEADS, D_K, D_V = 2, 3, 6, 5


def leaf(x: Tensor) -> Tensor:
    return x.double().requires_grad_()


def streams(time: int, key_heads: int = HEADS) -> dict[str, Tensor]:
    """q, k of length about 1, v, and a state."""
    return {
        "q": leaf(torch.randn(BATCH, key_heads, time, D_K) / D_K**0.5),
        "k": leaf(torch.randn(BATCH, key_heads, time, D_K) / D_K**0.5),
        "v": leaf(torch.randn(BATCH, HEADS, time, D_V)),
        "state": leaf(torch.randn(BATCH, HEADS, D_K, D_V)),
    }


def log_decays(time: int, *channels: int) -> Tensor:
    """Slow and fast ones side by side, and some that keep all (0) or nothing (-inf)."""
    shape = (BATCH, HEADS, time, *channels)
    log_decay = -torch.randn(shape, dtype=torch.float64).exp() * 10 ** torch.empty(shape).uniform_(-4, 1).double()
    kind = torch.rand(shape)
    log_decay = torch.where(kind < 0.1, 0, torch.where(kind > 0.97, float("-inf"), log_decay))
    return leaf(log_decay)


def results(operator: Operator, arguments: dict[str, Tensor], **how: object) -> dict[str, Tensor]:
    """Output, end state, and the gradient of a fixed random projection of both by every argument."""
    y, end = operator(**arguments, **how)
    generator = torch.Generator().manual_seed(1)
    weights = (torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device) for x in (y, end))
    total = sum((x * w).sum() for x, w in zip((y, end), weights, strict=True))
    named = {name: x for name, x in arguments.items() if x is not None}
    gradients = torch.autograd.grad(total, list(named.values()))
    return {"y": y.detach(), "end": end.detach()} | {f"d/d {n}": g for n, g in zip(named, gradients, strict=True)}


def worst_error(found: dict[str, Tensor], true: dict[str, Tensor]) -> dict[str, float]:
    """Largest difference of each result over the larger of 1 and its largest value."""
    assert found.keys() == true.keys()
    return {name: float((found[name] - x).abs().max() / x.abs().max().clamp(min=1)) for name, x in true.items()}


def in_parts(operator: Operator, arguments: dict[str, Tensor], cuts: list[int]) -> tuple[Tensor, Tensor]:
    """Return the same call cut in time, the state handed on."""
    state, parts, time = arguments["state"], [], arguments["v"].shape[2]
    for begin, end in zip([0, *cuts], [*cuts, time], strict=True):
        part = {n: x[:, :, begin:end] for n, x in arguments.items() if n != "state" and x is not None}
        y, state = operator(**part, state=state)
        parts.append(y)
    return torch.cat(parts, 2), state


def in_float32(arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.detach().float().requires_grad_() for name, x in arguments.items()}
