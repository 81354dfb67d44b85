"""A group of chunks as Triton kernels: the functions of `group.py`, in float32 with products as precise as asked for.

One program goes through all chunks of one batch entry and head, so that a chunk costs no launch. The state goes from
chunk to chunk through memory, which a GPU's caches hold: registers are too few (head width 32, depth 2: 64 KB of state
beside what a chunk needs), and Triton keeps nothing in shared memory from one turn of a loop to the next. A load must
not overtake a store of the turn before it, so loops are not pipelined (`num_stages=1`).

Not measured on a GPU as of this writing; `benchmarks/gpu.py` does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from titans.ops.neural_memory.group import FastState, GroupBack, Tokens
from titans.ops.neural_memory.group import chunk_decay as chunk_decay
from titans.ops.neural_memory.group import chunk_decay_back as chunk_decay_back
from titans.ops.neural_memory.step import Decay, Form
from titans.ops.neural_memory.triton.backward import backward_kernel
from titans.ops.neural_memory.triton.forward import forward_kernel
from titans.ops.neural_memory.triton.tiles import VECTORS, Shape

SMALLEST = 16  # side of a product's factors
TILE, WARPS = 32, 8  # a guess from what the compiler spills: inputs of the last layer at a time, warps a program
#: By `torch.get_float32_matmul_precision`. Triton's interpreter, on a CPU, gets bfloat16 wrong, and is always exact.
PRECISIONS = {"highest": "ieee", "high": "tf32", "medium": "bf16"}


class KernelTape(NamedTuple):
    """What the backward kernel needs of a group.

    Attributes:
        states: Before each chunk and after the last, weights, then momentum: `[chunks + 1, N, numel]`.
        z, u: The last layer's output for keys and queries, `[N, time, dim]`.
    """

    states: Tensor
    z: Tensor
    u: Tensor


def forward_group(
    form: Form, reset_momentum: bool, decays: list[Decay], tokens: Tokens, state: FastState, keep: bool
) -> tuple[Tensor, FastState, KernelTape | None]:
    """`group.forward_group`, with a tape that only `backward_group` of this module reads."""
    m, (q, k, v) = _shape(form, reset_momentum, decays, tokens, state), _contiguous(tokens)
    chunks = decays[0].mask.shape[0]
    places = chunks + 1 if keep else 2
    states = q.new_empty(places, q.shape[0], m.numel)
    states[0] = _packed(state)
    y = torch.empty_like(q)
    z, u = (torch.empty_like(q), torch.empty_like(q)) if keep else (y, y)
    with torch.cuda.device_of(q):  # Triton launches on the current one
        forward_kernel[(q.shape[0],)](
            q, k, v, *_stacked(decays), states, y, z, u, chunks, places, KEEP=keep, m=m, num_warps=WARPS, num_stages=1
        )
    end = states[chunks % places].clone()  # on its own, so that whoever keeps it does not keep them all
    return y, _unpacked(end, state), KernelTape(states, z, u) if keep else None


def backward_group(
    form: Form, reset_momentum: bool, decays: list[Decay], tokens: Tokens, tape: KernelTape, dy: Tensor,
    dstate: FastState,
) -> GroupBack:  # fmt: skip
    """`group.backward_group`."""
    m, (q, k, v) = _shape(form, reset_momentum, decays, tokens, dstate), _contiguous(tokens)
    chunks = decays[0].mask.shape[0]
    masks, vectors = _stacked(decays)
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
    by_keys = (dk, dv) if form.outer_gradient else (None, None)
    return GroupBack((dq, *by_keys), _unstacked(dmasks, dvectors), _unpacked(dstates[0], dstate))


def _shape(form: Form, reset_momentum: bool, decays: list[Decay], tokens: Tokens, state: FastState) -> Shape:
    chunk, dim, width = decays[0].mask.shape[-1], tokens[0].shape[-1], state.weights[-1].shape[-1]
    tokens_padded, dim_padded = (max(SMALLEST, triton.next_power_of_2(size)) for size in (chunk, dim))
    precision = PRECISIONS[torch.get_float32_matmul_precision() if tokens[0].is_cuda else "highest"]
    sizes = (chunk, dim, width, len(state.weights), tokens_padded, dim_padded, TILE)
    return Shape(*sizes, *form, reset_momentum, precision)


def _contiguous(tokens: Tokens) -> list[Tensor]:
    return [x.contiguous() for x in tokens]


def _packed(state: FastState) -> Tensor:
    """`[N, numel]`: the weights of each layer, then the momentum."""
    return torch.cat([x.flatten(1) for x in (*state.weights, *state.momentum)], 1)


def _unpacked(packed: Tensor, like: FastState) -> FastState:
    """The other way round."""
    shapes = [x.shape for x in (*like.weights, *like.momentum)]
    parts = packed.split([shape[1:].numel() for shape in shapes], 1)
    tensors = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    return FastState(tensors[: len(like.weights)], tensors[len(like.weights) :])


def _stacked(decays: list[Decay]) -> tuple[Tensor, Tensor]:
    """Masks `[layers, chunks, N, C, C]` and vectors `[layers, chunks, N, VECTORS, C]`, the last of them constant."""
    rows = [[x.squeeze(-1) for x in decay[1:]] for decay in decays]
    vectors = [torch.stack((*columns, last.expand_as(columns[0])), -2) for *columns, last in rows]
    return torch.stack([decay.mask for decay in decays]), torch.stack(vectors)


def _unstacked(masks: Tensor, vectors: Tensor) -> list[Decay]:
    """Gradients by the decays from those by `_stacked`."""
    assert vectors.shape[-2] == VECTORS
    found = []
    for mask, of_layer in zip(masks, vectors, strict=True):
        start, drift, into_weights, into_momentum, decay = of_layer.unsqueeze(-1).unbind(-3)
        found.append(Decay(mask, start, drift, into_weights, into_momentum, decay[..., :1, :]))
    return found
