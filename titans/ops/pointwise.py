"""What a model does number by number between its products: RMSNorm, the gate of SwiGLU, and the short convolution.

Torch goes through memory once for each of their operations, forward and backward. On a processor, a thread that works
alone goes through it once for each function, in C (neural_memory/cpu/pointwise.h). Each function has its form in torch
beside it, which all other calls run on, and which differentiates a gradient again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_double, c_int64, c_void_p
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.neural_memory.cpu.binding import kernel
from titans.ops.neural_memory.kernels import CPU_DTYPES, cpu_missing

FEWEST = 2**12  # numbers for which the call of C pays
SHORTEST = 1e-6  # norm by which a head's vector is divided at least


class Convolution(NamedTuple):
    """The form of a short convolution.

    Attributes:
        heads: Heads that the channels are split into.
        before: How many of the inputs come before the first output: none, or one less than there are taps.
        silu: Whether the sums pass a SiLU.
        unit: Whether each head's vector is divided by its length.
    """

    heads: int
    before: int
    silu: bool
    unit: bool


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Return gain x / sqrt(mean(x^2) + eps), over the last dimension of x `[..., dim]`."""
    return _run(_Form(plain_rms_norm, _rms_norm, _rms_norm_backward), (eps,), x, gain)


def silu_gate(a: Tensor, b: Tensor) -> Tensor:
    """Return silu(a) b, all of one shape `[...]`."""
    return _run(_Form(plain_silu_gate, _silu_gate, _silu_gate_backward), (), a, b)


def convolve(x: Tensor, weight: Tensor, form: Convolution) -> Tensor:
    """Convolve each channel over time with its own taps, and split the channels into heads.

    Args:
        x: `[batch, before + time, heads * dim]`.
        weight: `[heads * dim, taps]`, the oldest token's first.
        form: The form of the convolution.

    Returns:
        `[batch, heads, time, dim]`.
    """
    return _run(_Form(plain_convolve, _convolve, _convolve_backward), (form,), x, weight)


def plain_rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Do the same as `rms_norm` in torch, x and the result `[..., dim]`."""
    return F.rms_norm(x, gain.shape, gain, eps)


def plain_silu_gate(a: Tensor, b: Tensor) -> Tensor:
    """Do the same as `silu_gate` in torch, all `[...]`."""
    return F.silu(a) * b


def plain_convolve(x: Tensor, weight: Tensor, form: Convolution) -> Tensor:
    """Do the same as `convolve` in torch, `[batch, before + time, channels]` to `[batch, heads, time, dim]`."""
    missing = weight.shape[1] - 1 - form.before
    y = F.conv1d(F.pad(x.mT, (missing, 0)) if missing else x.mT, weight.unsqueeze(1), groups=x.shape[2])
    y = (F.silu(y) if form.silu else y).mT.unflatten(-1, (form.heads, -1)).transpose(1, 2)
    return F.normalize(y, dim=-1, eps=SHORTEST) if form.unit else y


class _Form(NamedTuple):
    """A function of tensors and settings in torch, and its way there and back in C.

    Attributes:
        plain: The function in torch.
        forward: The function in C.
        backward: The gradients in C, from that by the result and the arguments.
    """

    plain: Callable[..., Tensor]
    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor, Tensor]]


def _run(form: _Form, settings: tuple[Any, ...], x: Tensor, other: Tensor) -> Tensor:
    if not _has_kernel(x, other):
        return form.plain(x, other, *settings)
    x, other = x.contiguous(), other.contiguous()
    if torch.is_grad_enabled():
        return _Pointwise.apply(form, settings, x, other)  # type: ignore[no-untyped-call]
    return form.forward(x, other, *settings)


def _has_kernel(x: Tensor, other: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == other.dtype
        and x.dtype in CPU_DTYPES
        and x.numel() >= FEWEST
        and torch.get_num_threads() == 1
        and not torch.compiler.is_compiling()
        and cpu_missing(x.dtype) is None
    )


class _Pointwise(torch.autograd.Function):
    """A form of two tensors in C. Where its gradient is to be differentiated again, torch computes it."""

    @staticmethod
    def forward(ctx: Any, form: _Form, settings: tuple[Any, ...], x: Tensor, other: Tensor) -> Tensor:
        """Return the form's result for x `[..., channels]` and the other tensor."""
        ctx.save_for_backward(x, other)
        ctx.form, ctx.settings = form, settings
        return form.forward(x, other, *settings)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients with respect to the two tensors, from that with respect to the result `[...]`."""
        given = ctx.saved_tensors
        if torch.is_grad_enabled():
            again = tuple(x if x.requires_grad else x.detach().requires_grad_() for x in given)
            y = ctx.form.plain(*again, *ctx.settings)
            return (None, None, *torch.autograd.grad(y, again, dy, create_graph=True))
        return (None, None, *ctx.form.backward(dy.contiguous(), *given, *ctx.settings))


def _call(name: str, like: Tensor, *arguments: Any) -> None:
    """Call a function of pointwise.h for numbers like those of a tensor."""
    getattr(kernel(like.dtype), name)(*map(_passed, arguments))


def _passed(x: Any) -> Any:
    """Return an argument as C takes it: a tensor's address, an integer, a float, or what ctypes knows already."""
    if isinstance(x, Tensor):
        return c_void_p(x.data_ptr())
    return {int: c_int64, float: c_double}.get(type(x), lambda x: x)(x)


def _rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    y, dim = torch.empty_like(x), len(gain)
    _call("rms_norm", x, x.numel() // dim, dim, eps, x, gain, y)
    return y


def _rms_norm_backward(dy: Tensor, x: Tensor, gain: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    dx, dgain, dim = torch.empty_like(x), torch.zeros_like(gain), len(gain)
    _call("rms_norm_backward", x, x.numel() // dim, dim, eps, x, gain, dy, dx, dgain)
    return dx, dgain


def _silu_gate(a: Tensor, b: Tensor) -> Tensor:
    y = torch.empty_like(a)
    _call("silu_gate", a, a.numel(), a, b, y)
    return y


def _silu_gate_backward(dy: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    da, db = torch.empty_like(a), torch.empty_like(b)
    _call("silu_gate_backward", a, a.numel(), a, b, dy, da, db)
    return da, db


def _structure(x: Tensor, weight: Tensor, form: Convolution) -> Any:
    """Return `convolution` of pointwise.h, by reference."""
    (batch, time, channels), heads = x.shape, form.heads
    sizes = (batch, time - form.before, heads, channels // heads, weight.shape[1], form.before, form.silu, form.unit)
    return ctypes.byref((c_int64 * len(sizes))(*sizes))


def _convolve(x: Tensor, weight: Tensor, form: Convolution) -> Tensor:
    y = x.new_empty(x.shape[0], form.heads, x.shape[1] - form.before, x.shape[2] // form.heads)
    _call("convolve", x, _structure(x, weight, form), x, weight.mT.contiguous(), y)
    return y


def _convolve_backward(dy: Tensor, x: Tensor, weight: Tensor, form: Convolution) -> tuple[Tensor, Tensor]:
    turned = weight.mT.contiguous()
    dx, dturned, held = torch.zeros_like(x), torch.zeros_like(turned), x.new_empty(2 * dy.shape[-1])
    _call("convolve_backward", x, _structure(x, weight, form), x, turned, dy, dx, dturned, held)
    return dx, dturned.mT
