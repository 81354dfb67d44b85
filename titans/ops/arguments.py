"""The checks on the arguments of the operators: each `ValueError` names the argument that is wrong."""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor


def expect(name: str, x: Tensor, like: Tensor, *shape: int | tuple[int, ...], reference: str = "v") -> None:
    """Raise a `ValueError` unless x has the shape, the dtype and the device that it needs.

    Args:
        name: The argument's name.
        x: Any tensor `[...]`.
        like: The tensor whose dtype and device x needs.
        shape: The sizes of x; a tuple lists the sizes to choose from.
        reference: The name of `like` in the message.
    """
    sizes = [size if isinstance(size, tuple) else (size,) for size in shape]
    if x.dim() != len(sizes) or any(got not in choices for got, choices in zip(x.shape, sizes, strict=True)):
        wanted = ", ".join(" or ".join(map(str, dict.fromkeys(choices))) for choices in sizes)
        raise ValueError(f"{name}: expected [{wanted}], got {list(x.shape)}")
    if x.dtype != like.dtype or x.device != like.device:
        raise ValueError(f"{name}: is {x.dtype} on {x.device}, {reference} is {like.dtype} on {like.device}")


def check_streams(q: Tensor, k: Tensor, v: Tensor, state: Tensor | None) -> None:
    """Raise a `ValueError` where queries, keys, values and state do not fit together.

    Args:
        q, k: `[batch, heads, time, d_k]`, or one head, which broadcasts to all heads of v.
        v: `[batch, heads, time, d_v]`.
        state: `[batch, heads, d_k, d_v]`; None: zeros.
    """
    if v.dim() != 4 or not v.is_floating_point():
        raise ValueError(f"v: expected floating-point [batch, heads, time, d_v], got {v.dtype} {list(v.shape)}")
    batch, heads, time, d_v = v.shape
    if time < 1:
        raise ValueError("v: a sequence has at least one token, got time 0")
    for name, x in (("q", q), ("k", k)):
        expect(name, x, v, batch, (heads, 1), time, k.shape[-1])
    if state is not None:
        expect("state", state, v, batch, heads, k.shape[-1], d_v)


def check_log_decay(log_decay: Tensor | None, v: Tensor, *channels: int, name: str = "log_decay") -> None:
    """Raise a `ValueError` where a log-decay is not `[batch, heads, time, *channels]`, or is above 0.

    A batch or head dimension of 1 broadcasts to that of v, `[batch, heads, time, d_v]`. The values are checked on a CPU
    only. On a GPU, looking at them would stall the stream.
    """
    if log_decay is None:
        return
    batch, heads, time, _ = v.shape
    expect(name, log_decay, v, (batch, 1), (heads, 1), time, *channels)
    if log_decay.device.type == "cpu" and not torch.compiler.is_compiling() and bool((log_decay > 0).any()):
        raise ValueError(f"{name}: has a value above 0; it is the logarithm of a decay in [0, 1]")


@cache
def warn_unsupported(kernel: str, reason: str) -> None:
    """Warn, once for each reason, that the requested kernel does not support a call and torch runs it instead."""
    warnings.warn(f"kernel={kernel!r} does not support a call, which runs in torch instead: {reason}", stacklevel=4)
