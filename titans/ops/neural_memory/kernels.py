"""The kernels of the memory operator: what each supports, and which one a call runs on.

A kernel is a `Scan`, the functions that compute whole chunks, with a name and a function that says what it does not
support. A new kernel is a file with a `Scan` and a line in `KERNELS`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from titans.ops.arguments import warn_unsupported
from titans.ops.neural_memory.chunk import backward_covers
from titans.ops.neural_memory.linear import BLOCK, LINEAR, is_linear_recurrence
from titans.ops.neural_memory.scan import MUON, TAPED, TORCH, Scan
from titans.ops.neural_memory.state import State, Switches

KernelName = Literal["auto", "torch", "compiled", "cpu", "triton"]

#: The limits of the Triton kernels, set by a multiprocessor's shared memory. The last one is tokens times channels of a
#: chunk whose factors are float32.
WIDEST_HEAD, WIDEST_LAYER, LONGEST_CHUNK, LARGEST_CHUNK = 128, 512, 64, 64 * 64

#: The limits of the CPU kernel.
CPU_DTYPES, CPU_DEEPEST = (torch.float32, torch.float64), 64


class Call(NamedTuple):
    """The properties of a call that decide which kernel can run it.

    Attributes:
        q: `[batch, heads, time, dim]`.
        state: The state before the first token.
        switches: How the memory is built, written and read.
        rare: Why only torch can run the call. None: any kernel may run it.
    """

    q: Tensor
    state: State
    switches: Switches
    rare: str | None


class Kernel(NamedTuple):
    """A way to compute the operator.

    Attributes:
        name: The name by which a call asks for it.
        unsupported: Returns why the kernel cannot run a call; None: it can.
        missing: Returns why this machine does not have the kernel for a type of numbers; None: it has.
        load: Imports the kernel, which may take a second, and returns its functions.
    """

    name: str
    unsupported: Callable[[Call], str | None]
    missing: Callable[[torch.dtype], str | None]
    load: Callable[[], Scan]


def choose_scan(asked: KernelName, q: Tensor, state: State, switches: Switches, per_channel: bool) -> tuple[Scan, int]:
    """Return the functions that a call runs on, and its tokens in a chunk.

    "auto" is "cpu" on a CPU and else torch: the Triton kernels have not been measured on a GPU yet. If the
    requested kernel does not support a call, or the machine does not have it, torch runs the call, and a warning says
    so once. "auto" warns only if the machine lacks the kernel.

    Args:
        asked: The kernel by name.
        q: `[batch, heads, time, dim]`.
        state: The state before the first token.
        switches: How the memory is built, written and read.
        per_channel: Whether some gate has a value for each channel.

    Raises:
        ValueError: There is no such kernel, or "triton" is asked for on a CPU outside of Triton's interpreter.
    """
    kernel = KERNELS.get(_automatic(q) if asked == "auto" else asked)
    if kernel is None:
        raise ValueError(f"kernel: {asked!r} is not one of auto, {', '.join(KERNELS)}")
    linear = is_linear_recurrence(switches, len(state.weights), per_channel)
    rare = None
    if linear:
        rare = "a linear memory at chunk_size 1 has a form of its own"
    elif not backward_covers(switches, per_channel):
        rare = (
            "the call reads late, writes some layers only, or has a gain, gates per channel, thresholds, a window or "
            "Muon"
        )
    unsupported = kernel.unsupported(Call(q, state, switches, rare))
    missing = None if unsupported else kernel.missing(q.dtype)
    reason = unsupported or missing
    if missing or (unsupported and asked != "auto"):
        warn_unsupported(kernel.name, str(reason))
    if linear:
        return LINEAR, BLOCK
    if switches.optimizer == "muon":
        return MUON, switches.chunk_size
    return TAPED if rare else TORCH if reason else kernel.load(), switches.chunk_size


def _automatic(q: Tensor) -> KernelName:
    """Return the kernel that "auto" means. Inside `torch.compile` it is "torch", whose operations can be traced."""
    return "cpu" if q.device.type == "cpu" and not torch.compiler.is_compiling() else "torch"


def _anything(call: Call) -> None:
    """Return None: torch supports every call, compiled or not."""


def _everywhere(dtype: torch.dtype) -> None:
    """Return None: torch's own kernels are always installed."""


def _unsupported_by_cpu(call: Call) -> str | None:
    q, layers = call.q, len(call.state.weights)
    reasons = {
        f"its tensors are on {q.device}": q.device.type != "cpu",
        f"its tensors are {q.dtype}, neither torch.float32 nor torch.float64": q.dtype not in CPU_DTYPES,
        f"{layers} layers are more than {CPU_DEEPEST}": layers > CPU_DEEPEST,
        f"its objective is {call.switches.objective}": call.switches.objective != "l2",
    }
    return call.rare or next((reason for reason, holds in reasons.items() if holds), None)


@cache
def cpu_missing(dtype: torch.dtype) -> str | None:
    """Return why this machine cannot build the kernel; None: it has it."""
    from titans.ops.neural_memory.cpu.binding import kernel
    from titans.ops.neural_memory.cpu.build import Unavailable

    try:
        kernel(dtype)
    except Unavailable as missing:
        return str(missing)
    return None


def _unsupported_by_triton(call: Call) -> str | None:
    q, chunk, layers = call.q, call.switches.chunk_size, len(call.state.weights)
    width, dim = call.state.weights[-1].shape[-1], q.shape[-1]
    if q.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError("kernel: 'triton' runs on a CPU in Triton's interpreter only; set TRITON_INTERPRET=1 for that")
    exact = q.is_cuda and torch.get_float32_matmul_precision() != "medium"
    reasons = {
        f"its tensors are {q.dtype}, not torch.float32": q.dtype != torch.float32,
        f"{layers} layers are more than 2": layers > 2,
        f"its objective is {call.switches.objective}": call.switches.objective != "l2",
        f"heads of {dim} are wider than {WIDEST_HEAD}": dim > WIDEST_HEAD,
        f"a hidden width of {width} is more than {WIDEST_LAYER}": width > WIDEST_LAYER,
        f"chunks of {chunk} tokens are longer than {LONGEST_CHUNK}": chunk > LONGEST_CHUNK,
        f"chunks of {chunk} tokens and heads of {dim} take more shared memory than there is, save with "
        "torch.set_float32_matmul_precision('medium')": exact and too_large(chunk, dim),
    }
    return call.rare or next((reason for reason, holds in reasons.items() if holds), None)


def _triton_missing(dtype: torch.dtype) -> str | None:
    return "triton is not installed" if importlib.util.find_spec("triton") is None else None


def too_large(chunk: int, dim: int) -> bool:
    """Return whether a chunk does not fit an H200's shared memory with float32 factors, as its compiler finds."""
    tokens, channels = (max(16, 1 << (size - 1).bit_length()) for size in (chunk, dim))
    return tokens * channels > LARGEST_CHUNK


@cache
def _load_compiled() -> Scan:
    from titans.ops.neural_memory.compiled import COMPILED, compile_into_own_folder

    compile_into_own_folder()
    return COMPILED


def _load_cpu() -> Scan:
    from titans.ops.neural_memory.cpu import CPU

    return CPU


def _load_triton() -> Scan:
    from titans.ops.neural_memory.triton import TRITON

    return TRITON


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("torch", _anything, _everywhere, lambda: TORCH),
        Kernel("compiled", _anything, _everywhere, _load_compiled),
        Kernel("cpu", _unsupported_by_cpu, cpu_missing, _load_cpu),
        Kernel("triton", _unsupported_by_triton, _triton_missing, _load_triton),
    )
}
