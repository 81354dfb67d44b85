"""A linear memory at chunk_size 1 in blocks: exact, momentum and forgetting included.

With depth 1 a token's surprise is linear in those before it, so all of a block's follow from one triangular system,

    (I + s strict(C[t-1, i] k_i . k_t)) delta = s (start_{t-1} W k + drift_{t-1} S k - v)

with s the derivative of the loss: the delta rule's parallel form (arXiv 2406.06484), with the masks of the memory.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.neural_memory.coefficients import Coefficients
from titans.ops.neural_memory.mlp import Write, loss_slope
from titans.ops.neural_memory.state import Gate, State, Switches

BLOCK = 64  # tokens; the system costs block^2 a token, what the states between blocks cost falls with the block


def is_linear_recurrence(how: Switches, layers: int, eta: Gate | None, alpha: Gate | None) -> bool:
    """Whether the call is a linear memory anchored at every token, with gates that all channels share."""
    plain = not (how.residual or how.reset_momentum) and how.read == "token" and how.written is None
    shared = not any(isinstance(gate, tuple) and gate[0].dim() == 4 for gate in (eta, alpha))
    return layers == 1 and how.chunk_size == 1 and plain and shared


def linear_writes(state: State, k: Tensor, v: Tensor, c: tuple[Coefficients | None, ...], how: Switches) -> list[Write]:
    """The inner gradients of a block, each at the weights that the token before it left."""
    assert c[0] is not None
    assert c[0].mask is not None
    masks = (c[0].mask, c[0].whole.start, c[0].whole.drift)
    tensors: tuple[Tensor, ...] = (k, v, state.weights[0], state.momentum[0], *masks)
    if not how.outer_gradient:
        tensors = tuple(x.detach() for x in tensors)
    k, v, weights, momentum, mask, start, drift = tensors
    s = loss_slope(how.loss, v.shape[-1])
    before = F.pad(mask, (0, 0, 1, 0))[..., :-1, :]
    start, drift = F.pad(start, (0, 0, 1, 0), value=1.0)[..., :-1, :], F.pad(drift, (0, 0, 1, 0))[..., :-1, :]
    system = s * before * (k @ k.mT)  # strictly lower; the solver takes the diagonal as 1
    error = start * (k @ weights.mT) + drift * (k @ momentum.mT) - v
    return [Write(k, torch.linalg.solve_triangular(system, s * error, upper=False, unitriangular=True))]
