"""Checks on what an operator is given: a `ValueError` names the argument."""

from __future__ import annotations

import torch
from torch import Tensor


def expect(name: str, x: Tensor, like: Tensor, *shape: int | tuple[int, ...]) -> None:
    """Raise `ValueError` unless x has this shape, a tuple holding choices, and the type and device of `like`."""
    sizes = [size if isinstance(size, tuple) else (size,) for size in shape]
    if x.dim() != len(sizes) or any(got not in choices for got, choices in zip(x.shape, sizes, strict=True)):
        wanted = ", ".join(" or ".join(map(str, dict.fromkeys(choices))) for choices in sizes)
        raise ValueError(f"{name}: expected [{wanted}], got {list(x.shape)}")
    if x.dtype != like.dtype or x.device != like.device:
        raise ValueError(f"{name}: is {x.dtype} on {x.device}, v is {like.dtype} on {like.device}")


def check_streams(q: Tensor, k: Tensor, v: Tensor, state: Tensor | None) -> None:
    """Raise `ValueError` where queries, keys, values and state do not fit together."""
    if v.dim() != 4 or not v.is_floating_point():
        raise ValueError(f"v: expected floating-point [batch, heads, time, d_v], got {v.dtype} {list(v.shape)}")
    batch, heads, time, d_v = v.shape
    if time < 1:
        raise ValueError("v: a sequence has at least one token, got time 0")
    for name, x in (("q", q), ("k", k)):
        expect(name, x, v, batch, (heads, 1), time, k.shape[-1])
    if state is not None:
        expect("state", state, v, batch, heads, k.shape[-1], d_v)


def check_log_decay(log_decay: Tensor | None, v: Tensor, *channels: int) -> None:
    """Raise `ValueError` where a log-decay has another shape than `[batch, heads, time, *channels]` or is above 0.

    Values are looked at on a CPU only: on a GPU that would stall the stream.
    """
    if log_decay is None:
        return
    batch, heads, time, _ = v.shape
    expect("log_decay", log_decay, v, (batch, 1), (heads, 1), time, *channels)
    if log_decay.device.type == "cpu" and not torch.compiler.is_compiling() and bool((log_decay > 0).any()):
        raise ValueError("log_decay: has a value above 0; it is the logarithm of a decay in [0, 1]")
