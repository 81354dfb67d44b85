"""The kernels of flash-linear-attention (package `fla`), for the operators that are asked to run on them.

These kernels have been neither run nor measured here, as no GPU was at hand. So "auto" is torch. They compute products
of float32 in TF32 or less as Triton chooses, and do not take a log-decay of -inf.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from titans.ops.arguments import warn_unsupported

KernelName = Literal["auto", "torch", "fla"]
WIDEST_KEY = 256  # of the delta rule of fla


def uses_fla(kernel: KernelName, v: Tensor, d_k: int) -> bool:
    """Return whether a call runs on the kernels of fla.

    Where they are asked for and do not support the call, torch runs it, and a warning says so once.

    Args:
        kernel: The kernel that is asked for.
        v: `[batch, heads, time, d_v]`.
        d_k: The width of a key.

    Raises:
        ValueError: There is no such kernel.
    """
    if kernel not in ("auto", "torch", "fla"):
        raise ValueError(f"kernel: {kernel!r} is not one of auto, torch, fla")
    if kernel != "fla":
        return False
    reason = unsupported(v, d_k)
    if reason is not None:
        warn_unsupported(kernel, reason)
    return reason is None


def unsupported(v: Tensor, d_k: int) -> str | None:
    """Return why the kernels of fla cannot run a call with values v `[batch, heads, time, d_v]`; None: they can."""
    reasons = {
        f"its tensors are on {v.device.type}, not on a GPU": not v.is_cuda,
        "flash-linear-attention is not installed (pip install flash-linear-attention)": not _installed(),
        "its tensors are float64": v.dtype == torch.float64,
        f"keys of {d_k} are wider than {WIDEST_KEY}": d_k > WIDEST_KEY,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def fla_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run `gated_linear_attention` on `chunk_gla`, or on `chunk_simple_gla` where all channels share a decay.

    Arguments, in the shapes `[...]` of `gated_linear_attention`, and result are those of that function.
    """
    if log_decay is None:
        log_decay = v.new_zeros(v.shape[:3])
    name, op = ("chunk_simple_gla", "simple_gla") if log_decay.dim() == 3 else ("chunk_gla", "gla")
    return call_fla(op, name, state, q=q, k=k, v=v, g=log_decay)


def fla_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run `gated_delta_rule` on `chunk_gated_delta_rule`; the shapes `[...]` are those of `gated_delta_rule`."""
    g = v.new_zeros(v.shape[:3]) if log_decay is None else log_decay
    return call_fla("gated_delta_rule", "chunk_gated_delta_rule", state, q=q, k=k, v=v, g=g, beta=beta)


def call_fla(
    op: str, name: str, state: Tensor, settings: Mapping[str, Any] = MappingProxyType({}), **tensors: Tensor
) -> tuple[Tensor, Tensor]:
    """Call a function of fla, where time comes before the heads and the state is in float32.

    Args:
        op, name: The function `fla.ops.<op>.<name>`.
        state: `[batch, heads, d_k, d_v]`.
        settings: Arguments that are no tensors.
        tensors: `[batch, heads, time, ...]` by their names in fla. A batch or heads of 1 serve all of v's.

    Returns:
        The outputs `[batch, heads, time, d_v]` and the end state.
    """
    batch, heads = tensors["v"].shape[:2]
    given = {key: x.expand(batch, heads, *x.shape[2:]).transpose(1, 2) for key, x in tensors.items()}
    function: Any = getattr(import_module(f"fla.ops.{op}"), name)
    y, end = function(**given, **settings, scale=1.0, initial_state=state.float(), output_final_state=True)
    return y.transpose(1, 2), end.to(state.dtype)


@cache
def _installed() -> bool:
    return importlib.util.find_spec("fla") is not None and importlib.util.find_spec("triton") is not None
