"""The second form of a chunk: a linear memory at chunk_size 1, in blocks of tokens instead of token by token.

The closed form of `chunk.py` does not apply: it anchors all gradients of a block at the block's start, and here each
gradient is taken at the weights after the token before. With one layer a token's surprise is linear in those before it,
so all of a block's follow from one triangular system,

    (I + s strict(mask[t-1, i] k_i . k_t)) delta = s (start_{t-1} W k + drift_{t-1} S k - v)

with s the derivative of the loss: the delta rule's parallel form (arXiv 2406.06484), with the masks of the memory.
Momentum and forgetting are included, and nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.neural_memory.chunk import Products, read_chunk, write_chunk
from titans.ops.neural_memory.coefficients import Coefficients
from titans.ops.neural_memory.mlp import Surprise
from titans.ops.neural_memory.objective import loss_slope
from titans.ops.neural_memory.scan import TAPED, scan_forward
from titans.ops.neural_memory.state import State, Switches

BLOCK = 64  # tokens; a larger block has a larger triangular system and fewer states between blocks


def is_linear_recurrence(switches: Switches, layers: int, per_channel: bool) -> bool:
    """Return whether a call is a linear memory anchored at every token, with gates that all channels share."""
    plain = not (switches.residual or switches.reset_momentum) and switches.read == "token" and switches.written is None
    small = layers == 1 and switches.chunk_size == switches.window == 1
    return small and plain and not per_channel and (switches.objective, switches.optimizer) == ("l2", "gd")


def forward_block(
    switches: Switches, state: State, coefficients: Sequence[Coefficients | None], q: Tensor, k: Tensor, v: Tensor
) -> tuple[Tensor, State, Products]:
    """Write a block into the memory and read it, q, k and v `[N, block, D]`; see `forward_chunk`."""
    surprise = _surprise(switches, state, coefficients, k, v)
    y, _ = read_chunk(switches, state, coefficients, surprise, q)
    return y, write_chunk(switches, state, coefficients, surprise), Products((), (), ())


#: The scan over blocks; autograd differentiates it.
LINEAR = TAPED._replace(forward=partial(scan_forward, forward_chunk=forward_block))


def _surprise(
    switches: Switches, state: State, coefficients: Sequence[Coefficients | None], k: Tensor, v: Tensor
) -> Surprise:
    """Return the inner gradients of a block, each at the weights that the token before it left."""
    c = coefficients[0]
    assert c is not None
    assert isinstance(c.mask, Tensor)
    tensors: tuple[Tensor, ...] = (k, v, state.weights[0], state.momentum[0], c.mask, c.start, c.drift)
    if not switches.outer_gradient:
        tensors = tuple(x.detach() for x in tensors)
    k, v, w, s, mask, start, drift = tensors
    start, drift = F.pad(start, (0, 0, 1, 0), value=1.0)[:, :-1], F.pad(drift, (0, 0, 1, 0))[:, :-1]
    error = start * torch.bmm(k, w.mT) + drift * torch.bmm(k, s.mT) - v
    of_loss = loss_slope(switches.loss, v.shape[-1])
    system = of_loss * F.pad(mask, (0, 0, 1, 0))[:, :-1] * torch.bmm(k, k.mT)  # the solver takes the diagonal as 1
    delta = torch.linalg.solve_triangular(system, of_loss * error, upper=False, unitriangular=True)
    return Surprise(x=[k], z=[], slopes=[], pulled=[], delta=[delta], answer=v + error, error=delta)
