"""Compile the memory's Triton kernels for an H200 and print the bytes of shared memory that each takes; needs no GPU.

python tests/helpers/compile_kernels.py [depth dim width chunk precision]
"""

from __future__ import annotations

import json
import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from titans.ops.neural_memory.triton import SMALLEST, TILE, WARPS
from titans.ops.neural_memory.triton.backward import backward_kernel
from titans.ops.neural_memory.triton.forward import forward_kernel
from titans.ops.neural_memory.triton.tiles import KernelShape

H200 = GPUTarget("cuda", 90, 32)
INTEGERS = ("chunks", "places")
CONSTANTS = ("KEEP", "m")


def shape(depth: int, dim: int, width: int, chunk: int, precision: str) -> KernelShape:
    """Return the kernel's shape for a memory with default switches."""
    padded = [max(SMALLEST, triton.next_power_of_2(size)) for size in (chunk, dim)]
    return KernelShape(chunk, dim, width, depth, *padded, TILE, "gelu", True, 2.0, True, False, precision)


def compiled(kernel: Any, m: KernelShape) -> Any:
    """Return a kernel for a shape, every pointer to float32 and aligned."""
    constants = {name: value for name, value in {"KEEP": True, "m": m}.items() if name in kernel.arg_names}
    pointers = [name for name in kernel.arg_names if name not in (*INTEGERS, *CONSTANTS)]
    kinds = dict.fromkeys(kernel.arg_names, "*fp32") | dict.fromkeys(constants, "constexpr")
    kinds |= {name: "i32" for name in INTEGERS if name in kinds}
    aligned = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in pointers}
    source = ASTSource(kernel, kinds, constants, aligned)
    return triton.compile(source, target=H200, options={"num_warps": WARPS, "num_stages": 1})


if __name__ == "__main__":
    *sizes, precision = sys.argv[1:]
    m = shape(*map(int, sizes), precision)
    print(json.dumps({each.__name__: compiled(each, m).metadata.shared for each in (forward_kernel, backward_kernel)}))
