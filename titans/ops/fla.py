"""The kernels of flash-linear-attention (package `fla`), for the operators that are asked to run on them.

These kernels have been neither run nor measured in this project, for lack of a GPU. So "auto" is torch. They compute
float32 products in TF32 or a lower precision that Triton chooses, and do not support a log-decay of -inf.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor

from titans.ops.arguments import warn_unsupported

KernelName = Literal["auto", "torch", "fla"]
WIDEST_KEY = 256  # the limit of fla's delta rule


def uses_fla(kernel: KernelName, v: Tensor, d_k: int, lack: str | None = None) -> bool:
    """Return whether a call runs on the kernels of fla.

    If the call requests them and they do not support it, torch runs it, and a warning says so once.

    Args:
        kernel: The requested kernel.
        v: `[batch, heads, time, d_v]`.
        d_k: The width of a key.
        lack: Why the kernels of fla cannot run this operator. None: they can.

    Raises:
        ValueError: There is no such kernel.
    """
    if kernel not in ("auto", "torch", "fla"):
        raise ValueError(f"kernel: {kernel!r} is not one of auto, torch, fla")
    if kernel != "fla":
        return False
    reason = unsupported(v, d_k) or lack
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


def fla_mesa(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, ridge: Tensor, log_decay: Tensor, state: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Run `mesa` on `chunk_mesa_net`; the shapes `[...]` are those of `mesa`."""
    streams = {"q": q, "k": k, "v": v, "g": log_decay.expand_as(beta), "beta": beta}
    starts = (x.float().contiguous() for x in state.split((k.shape[-1], v.shape[-1]), -1))
    function: Any = import_module("fla.ops.mesa_net").chunk_mesa_net
    y, *ends = function(
        **{name: x.transpose(1, 2) for name, x in streams.items()}, lamb=ridge,
        **dict(zip(("h_kk_init", "h_kv_init"), starts, strict=True)), output_final_state=True,
        max_CG_iteration=iterations,
    )  # fmt: skip
    return y.transpose(1, 2), torch.cat(ends, -1).to(state.dtype)


def call_fla(op: str, name: str, state: Tensor, **tensors: Tensor) -> tuple[Tensor, Tensor]:
    """Call a function of fla, where time comes before the heads and the state is in float32.

    Args:
        op, name: The function `fla.ops.<op>.<name>`.
        state: `[batch, heads, d_k, d_v]`.
        tensors: `[batch, heads, time, ...]` by their names in fla. A batch or head dimension of 1 broadcasts to that of
            v.

    Returns:
        The outputs `[batch, heads, time, d_v]` and the end state.
    """
    batch, heads = tensors["v"].shape[:2]
    given = {key: x.expand(batch, heads, *x.shape[2:]).transpose(1, 2) for key, x in tensors.items()}
    function: Any = getattr(import_module(f"fla.ops.{op}"), name)
    y, end = function(**given, scale=1.0, initial_state=state.float(), output_final_state=True)
    return y.transpose(1, 2), end.to(state.dtype)


@cache
def _installed() -> bool:
    return importlib.util.find_spec("fla") is not None and importlib.util.find_spec("triton") is not None
