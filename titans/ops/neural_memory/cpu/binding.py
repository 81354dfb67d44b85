"""The binding of the C kernel: the structures of forward.h in ctypes, and the call of a kernel."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_double, c_int64, c_void_p
from functools import cache
from typing import Any

import torch
from torch import Tensor

from titans.ops.neural_memory.cpu.build import library


class Rows(ctypes.Structure):
    """`tensor` of forward.h: where the first of some rows is, and how many numbers apart they are."""

    _fields_ = (("at", c_void_p), ("row", c_int64))


class KernelCall(ctypes.Structure):
    """`call` of forward.h. Fields of several layers point to as many `Rows`."""

    _fields_ = (
        *((name, c_int64) for name in ("rows", "chunks", "size", "layers", "threads")),
        *((name, c_int64) for name in ("activation", "residual", "outer", "reset", "every")),
        ("slope", c_double),
        ("widths", POINTER(c_int64)),
        *((name, Rows) for name in ("q", "k", "v", "y")),
        *((name, POINTER(Rows)) for name in ("theta", "eta", "alpha")),
        *((name, POINTER(Rows)) for name in ("weights", "momentum", "end_weights", "end_momentum")),
        ("states", c_void_p),
        ("products", c_void_p),
        *((name, Rows) for name in ("dy", "dq", "dk", "dv")),
        *((name, POINTER(Rows)) for name in ("dtheta", "deta", "dalpha")),
        *((name, POINTER(Rows)) for name in ("dweights", "dmomentum", "dend_weights", "dend_momentum")),
    )

    def place(self, **tensors: Tensor | None) -> None:
        """Set fields to tensors `[N, ...]` whose rows are contiguous; the caller keeps them alive."""
        for name, x in tensors.items():
            setattr(self, name, _rows(x))

    def place_layers(self, **tensors: Sequence[Tensor | None]) -> None:
        """Set fields to a tensor `[N, ...]` for each layer."""
        for name, of_layers in tensors.items():
            setattr(self, name, (Rows * len(of_layers))(*map(_rows, of_layers)))

    def run(self, what: str, dtype: torch.dtype) -> None:
        """Run "forward" or "backward".

        Raises:
            MemoryError: There is none left to work in.
        """
        if getattr(kernel(dtype), what)(ctypes.byref(self)):
            raise MemoryError("the memory operator's CPU kernel has no memory left to work in")

    def tape(self, dtype: torch.dtype) -> tuple[int, int]:
        """Return the numbers that the tape holds of a row: of a state, and of a chunk's products."""
        sizes = c_int64(), c_int64()
        kernel(dtype).tape(ctypes.byref(self), *map(ctypes.byref, sizes))
        return sizes[0].value, sizes[1].value


@cache
def kernel(dtype: torch.dtype) -> Any:
    """Return the compiled kernel for a type of numbers; see `library` for the error."""
    return library(double=dtype == torch.float64)


def contiguous_rows(x: Tensor) -> Tensor:
    """Return x `[N, ...]`, copied where its rows are not contiguous."""
    return x if x[0].is_contiguous() else x.contiguous()


def _rows(x: Tensor | None) -> Rows:
    return Rows(None, 0) if x is None else Rows(x.data_ptr(), x.stride(0))
