"""The memory token by token, straight from the paper, with the inner gradients taken by autograd: the oracle.

It shares no arithmetic with the closed form: the memory and its loss are written out here once more, on purpose.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.ops.neural_memory.state import MemoryState, check

ACTIVATION = {"gelu": F.gelu, "silu": F.silu, "relu": F.relu}


def naive_neural_memory(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    theta: Tensor,
    eta: Tensor | None,
    alpha: Tensor | None,
    state: MemoryState,
    chunk_size: int = 16,
    activation: str = "gelu",
    residual: bool = False,
    loss: str = "sum",
    outer_gradient: bool = True,
) -> tuple[Tensor, MemoryState]:
    """Write and read the memory one token after the other; arguments, result and errors as of `neural_memory`.

    Time and memory grow with time x weights: for tests and for checking faster forms.
    """
    check(q, k, v, theta, eta, alpha, state, chunk_size, activation, loss)

    def memory(weights: tuple[Tensor, ...], x: Tensor) -> Tensor:
        h = torch.einsum("bhoi,bhi->bho", weights[0], x)
        for w in weights[1:]:
            h = torch.einsum("bhoi,bhi->bho", w, ACTIVATION[activation](h))
        return x + F.layer_norm(h, h.shape[-1:], eps=1e-5) if residual else h

    def surprise(anchor: tuple[Tensor, ...], t: int) -> tuple[Tensor, ...]:
        squares = (memory(anchor, k[:, :, t]) - v[:, :, t]).square()
        total = {"sum": squares.sum(), "mean": squares.mean(-1).sum(), "half": 0.5 * squares.sum()}[loss]
        gradients = torch.autograd.grad(total, anchor, create_graph=outer_gradient)
        return gradients if outer_gradient else tuple(g.detach() for g in gradients)

    weights, momentum = state
    outputs = []
    with torch.enable_grad():
        for t in range(q.shape[2]):
            if t % chunk_size == 0:  # the inner gradient looks at the weights that the last chunk ended with
                anchor = tuple(w if w.requires_grad else w.detach().requires_grad_() for w in weights)
            gradients = surprise(anchor, t)
            layers = range(len(weights))
            momentum = tuple(
                _gate(eta, t, i) * momentum[i] - _gate(theta, t, i) * gradients[i] for i in layers
            )
            weights = tuple((1 - _gate(alpha, t, i)) * weights[i] + momentum[i] for i in layers)
            outputs.append(memory(weights, q[:, :, t]))
    y = torch.stack(outputs, 2)
    if not torch.is_grad_enabled():
        y, weights, momentum = y.detach(), tuple(w.detach() for w in weights), tuple(s.detach() for s in momentum)
    return y, MemoryState(weights, momentum)


def _gate(gate: Tensor | None, t: int, layer: int) -> Tensor | float:
    """Gate of token t for a layer's `[batch, heads, d_out, d_in]`; a gate that is off is 0."""
    if gate is None:
        return 0.0
    at = gate[:, :, t] if gate.dim() == 3 else gate[:, :, t, layer]
    return at[..., None, None]
