"""The kernels of flash-linear-attention (package `fla`) behind this library's operators: where they are asked for.

They have not been measured here, nor run: no GPU was at hand. So "auto" is torch. They compute products of float32 in
TF32 or less as Triton chooses, and do not take a log-decay of -inf.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import cache
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor

Kernel = Literal["auto", "torch", "fla"]
WIDEST_KEY = 256  # of its delta rule


def uses_fla(kernel: Kernel, v: Tensor, d_k: int) -> bool:
    """Whether a call runs on fla's kernels. Where they are asked for and cannot, torch does it, which is said once.

    Raises:
        ValueError: No such kernel.
    """
    if kernel not in ("auto", "torch", "fla"):
        raise ValueError(f"kernel: {kernel!r} is not one of auto, torch, fla")
    if kernel != "fla":
        return False
    reason = not_covered(v, d_k)
    if reason is not None:
        _say_once(reason)
    return reason is None


def not_covered(v: Tensor, d_k: int) -> str | None:
    """Why fla's kernels cannot do a call; None: they can."""
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
    """`gated_linear_attention` by `chunk_gla`, or `chunk_simple_gla` where all channels share a decay."""
    if log_decay is None:
        log_decay = v.new_zeros(v.shape[:3])
    name, op = ("chunk_simple_gla", "simple_gla") if log_decay.dim() == 3 else ("chunk_gla", "gla")
    return _call(op, name, state, q=q, k=k, v=v, g=log_decay)


def fla_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    """`gated_delta_rule` by `chunk_gated_delta_rule`."""
    g = v.new_zeros(v.shape[:3]) if log_decay is None else log_decay
    return _call("gated_delta_rule", "chunk_gated_delta_rule", state, q=q, k=k, v=v, g=g, beta=beta)


def _call(op: str, name: str, state: Tensor, **tensors: Tensor) -> tuple[Tensor, Tensor]:
    """One of fla's functions, whose time comes before the heads and whose state is in float32."""
    batch, heads = tensors["v"].shape[:2]
    given = {key: x.expand(batch, heads, *x.shape[2:]).transpose(1, 2) for key, x in tensors.items()}
    function: Any = getattr(import_module(f"fla.ops.{op}"), name)
    y, end = function(**given, scale=1.0, initial_state=state.float(), output_final_state=True)
    return y.transpose(1, 2), end.to(state.dtype)


@cache
def _installed() -> bool:
    return importlib.util.find_spec("fla") is not None and importlib.util.find_spec("triton") is not None


@cache
def _say_once(reason: str) -> None:
    warnings.warn(f"kernel='fla' does not cover a call, which runs in torch instead: {reason}", stacklevel=4)
