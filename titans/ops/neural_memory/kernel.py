"""Which kernel a call of `neural_memory` runs on: the one place where that is decided."""

from __future__ import annotations

import importlib.util
import os
import warnings
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from titans.ops.neural_memory.linear import is_linear_recurrence
from titans.ops.neural_memory.loop import is_plain
from titans.ops.neural_memory.state import Gate, State, Switches

Kernel = Literal["auto", "torch", "compiled", "triton"]

KERNELS = ("auto", "torch", "compiled", "triton")
#: Of the Triton kernels, for what a processor holds; tokens times channels are of a chunk with float32 factors.
WIDEST_HEAD, WIDEST_LAYER, LONGEST_CHUNK, LARGEST_CHUNK = 128, 512, 64, 64 * 64


def which_kernel(
    asked: Kernel, q: Tensor, state: State, how: Switches, eta: Gate | None, alpha: Gate | None
) -> Literal["torch", "compiled", "triton"]:
    """The kernel that a call uses, given the one it asks for.

    "auto" is torch's: Triton's have not been measured on a GPU yet, and compilation has to be worth its time. "triton"
    where that does not cover a call is torch's, which is said once, with the reason.

    Raises:
        ValueError: No such kernel, or "triton" on a CPU outside of Triton's interpreter.
    """
    if asked not in KERNELS:
        raise ValueError(f"kernel: {asked!r} is not one of {', '.join(KERNELS)}")
    if asked != "triton":
        return "compiled" if asked == "compiled" else "torch"
    if q.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError("kernel: 'triton' runs on a CPU in Triton's interpreter only; set TRITON_INTERPRET=1 for that")
    reason = not_covered(q, state, how, eta, alpha)
    if reason is None:
        return "triton"
    _say_once(reason)
    return "torch"


def not_covered(q: Tensor, state: State, how: Switches, eta: Gate | None, alpha: Gate | None) -> str | None:
    """Why the Triton kernels cannot do a call; None: they can."""
    layers, width, dim = len(state.weights), state.weights[-1].shape[-1], q.shape[-1]
    exact = q.is_cuda and torch.get_float32_matmul_precision() != "medium"
    reasons = {
        "triton is not installed": importlib.util.find_spec("triton") is None,
        "a linear memory at chunk_size 1 has a form of its own": is_linear_recurrence(how, layers, eta, alpha),
        "the call reads late, writes some layers only, or has a gain or gates per channel": not is_plain(
            how, eta, alpha
        ),
        f"its tensors are {q.dtype}, not torch.float32": q.dtype != torch.float32,
        f"{layers} layers are more than 2": layers > 2,
        f"heads of {dim} are wider than {WIDEST_HEAD}": dim > WIDEST_HEAD,
        f"a hidden width of {width} is more than {WIDEST_LAYER}": width > WIDEST_LAYER,
        f"chunks of {how.chunk_size} tokens are longer than {LONGEST_CHUNK}": how.chunk_size > LONGEST_CHUNK,
        f"chunks of {how.chunk_size} tokens and heads of {dim} take more shared memory than there is, save with "
        "torch.set_float32_matmul_precision('medium')": exact and too_large(how.chunk_size, dim),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def too_large(chunk: int, dim: int) -> bool:
    """Whether a chunk does not fit an H200's shared memory with float32 factors, as its compiler finds."""
    tokens, channels = (max(16, 1 << (size - 1).bit_length()) for size in (chunk, dim))
    return tokens * channels > LARGEST_CHUNK


@cache
def _say_once(reason: str) -> None:
    warnings.warn(f"kernel='triton' does not cover a call, which runs in torch instead: {reason}", stacklevel=4)
