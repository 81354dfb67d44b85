"""The scan over chunks as Triton kernels, in float32, with products as precise as asked for.

One program goes through all chunks of one batch entry and head, so that a chunk costs no launch. The state goes from
chunk to chunk through memory, which a GPU's caches hold. Registers are too few for it (head width 32, depth 2: 64 KB of
state beside what a chunk needs), and Triton keeps nothing in shared memory from one turn of a loop to the next. A load
must not overtake a store of the turn before it, so loops are not pipelined (`num_stages=1`).

The kernels are not measured on a GPU as of this writing; `benchmarks/gpu.py` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from titans.ops.neural_memory.chunk import Gradients
from titans.ops.neural_memory.coefficients import Coefficients
from titans.ops.neural_memory.objective import loss_slope
from titans.ops.neural_memory.scan import TORCH, Tokens
from titans.ops.neural_memory.state import MemoryState, State, Switches
from titans.ops.neural_memory.triton.backward import backward_kernel
from titans.ops.neural_memory.triton.forward import forward_kernel
from titans.ops.neural_memory.triton.tiles import VECTORS, KernelShape

SMALLEST = 16  # side of a product's factors
TILE, WARPS = 32, 8  # a guess from what the compiler spills: inputs of the last layer at a time, warps in a program
#: By `torch.get_float32_matmul_precision`. Triton's interpreter, on a CPU, gets bfloat16 wrong, and is always exact.
PRECISIONS = {"highest": "ieee", "high": "tf32", "medium": "bf16"}


class KernelTape(NamedTuple):
    """The tape of the forward pass for the backward kernel.

    Attributes:
        states: Before each chunk and after the last, weights, then momentum: `[chunks + 1, N, numel]`.
        z, u: The last layer's output for keys and queries, `[N, time, dim]`.
    """

    states: Tensor
    z: Tensor
    u: Tensor


def forward(
    switches: Switches, size: int, coefficients: Sequence[Coefficients], tokens: Tokens, state: State, keep: bool
) -> tuple[Tensor, State, KernelTape | None]:
    """Return the result of `scan_forward`, tokens `[N, chunks * size, dim]`. Its tape is for `backward` alone."""
    m, (q, k, v) = _shape(switches, size, tokens, state), [x.contiguous() for x in tokens]
    chunks = q.shape[1] // size
    places = chunks + 1 if keep else 2
    states = q.new_empty(places, q.shape[0], m.numel)
    states[0] = _packed(state)
    y = torch.empty_like(q)
    z, u = (torch.empty_like(q), torch.empty_like(q)) if keep else (y, y)
    with torch.cuda.device_of(q):  # Triton launches on the current one
        forward_kernel[(q.shape[0],)](
            q, k, v, *_stacked(coefficients), states, y, z, u, chunks, places, KEEP=keep, m=m, num_warps=WARPS,
            num_stages=1,
        )  # fmt: skip
    end = states[chunks % places].clone()  # on its own, so that whoever keeps it does not keep them all
    return y, _unpacked(end, state), KernelTape(states, z, u) if keep else None


def backward(
    switches: Switches, size: int, coefficients: Sequence[Coefficients], tokens: Tokens, tape: KernelTape, dy: Tensor,
    dstate: MemoryState,
) -> Gradients:  # fmt: skip
    """Return the result of `scan_backward`, tokens and dy `[N, chunks * size, dim]`."""
    m, (q, k, v) = _shape(switches, size, tokens, dstate), [x.contiguous() for x in tokens]
    chunks = q.shape[1] // size
    masks, vectors = _stacked(coefficients)
    dmasks, dvectors = torch.empty_like(masks), torch.zeros_like(vectors)
    dstates = q.new_empty(2, q.shape[0], m.numel)
    dstates[chunks % 2] = _packed(dstate)
    dq, dk, dv = (torch.empty_like(q) for _ in range(3))
    through = q.new_empty(q.shape[0], 2, m.chunk, m.width)
    with torch.cuda.device_of(q):
        backward_kernel[(q.shape[0],)](
            q, k, v, tape.z, tape.u, dy.contiguous(), dq, dk, dv, masks, vectors, dmasks, dvectors, tape.states,
            dstates, through, chunks, m=m, num_warps=WARPS, num_stages=1,
        )  # fmt: skip
    found = Gradients(dq, dk, dv, _unstacked(dmasks, dvectors), _unpacked(dstates[0], dstate))
    return found if switches.outer_gradient else found._replace(k=None, v=None)


TRITON = TORCH._replace(forward=forward, backward=backward)


def _shape(switches: Switches, chunk: int, tokens: Tokens, state: State) -> KernelShape:
    """Return the shape that the kernels are compiled for."""
    dim = tokens[0].shape[-1]
    tokens_padded, dim_padded = (max(SMALLEST, triton.next_power_of_2(size)) for size in (chunk, dim))
    return KernelShape(
        chunk=chunk,
        dim=dim,
        width=state.weights[-1].shape[-1],
        depth=len(state.weights),
        tokens=tokens_padded,
        channels=dim_padded,
        tile=TILE,
        activation=switches.activation,
        residual=switches.residual,
        loss_slope=loss_slope(switches.loss, dim),
        outer_gradient=switches.outer_gradient,
        reset_momentum=switches.reset_momentum,
        precision=PRECISIONS[torch.get_float32_matmul_precision() if tokens[0].is_cuda else "highest"],
    )


def _packed(state: State) -> Tensor:
    """Return the weights of each layer, then the momentum, as `[N, numel]`."""
    return torch.cat([x.flatten(1) for x in (*state.weights, *state.momentum)], 1)


def _unpacked(packed: Tensor, like: State) -> MemoryState:
    """Return the state, shaped like another, whose `_packed` is given."""
    shapes = [x.shape for x in (*like.weights, *like.momentum)]
    parts = packed.split([shape[1:].numel() for shape in shapes], 1)
    tensors = tuple(part.view(shape) for part, shape in zip(parts, shapes, strict=True))
    return MemoryState(tensors[: len(like.weights)], tensors[len(like.weights) :])


def _stacked(coefficients: Sequence[Coefficients]) -> tuple[Tensor, Tensor]:
    """Return masks `[layers, chunks, N, C, C]` and vectors `[layers, chunks, N, VECTORS, C]`, the last one constant."""
    rows = [[x.squeeze(-1) for x in of_layer[1:]] for of_layer in coefficients]
    vectors = [torch.stack((*columns, last.expand_as(columns[0])), -2) for *columns, last in rows]
    return torch.stack([of_layer.mask for of_layer in coefficients]), torch.stack(vectors)  # type: ignore[misc]


def _unstacked(masks: Tensor, vectors: Tensor) -> list[Coefficients]:
    """Return the gradients with respect to the coefficients from those with respect to what `_stacked` returned."""
    assert vectors.shape[-2] == VECTORS
    found = []
    for mask, of_layer in zip(masks, vectors, strict=True):
        start, drift, into_weights, into_momentum, decay = of_layer.unsqueeze(-1).unbind(-3)
        found.append(Coefficients(mask, start, drift, into_weights, into_momentum, decay[..., :1, :]))
    return found
