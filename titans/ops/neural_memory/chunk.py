"""The closed form of the memory: masked matrix products, no weight tensor per token, for every depth.

With x_i a layer's input on the key side and delta_i the gradient at its output, both at the chunk's start (W, S), a
query g_t passes the layer as

    z_t = W (start_t g_t) + S (drift_t g_t) - sum_{i<=t} (mask[t, i] x_i . g_t) delta_i

which is an attention of queries over keys whose mask is the memory's own decay. Chunks follow one another.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from titans.ops.neural_memory.coefficients import Coefficients, chunk_coefficients
from titans.ops.neural_memory.kernel import Kernel, which_kernel
from titans.ops.neural_memory.linear import BLOCK, is_linear_recurrence, linear_writes
from titans.ops.neural_memory.loop import MEMORY_BUDGET, chunk_loop, is_plain
from titans.ops.neural_memory.mlp import Write, activate, finish, inner_gradient, read_memory, split_gain
from titans.ops.neural_memory.state import Gate, LaggedState, MemoryState, State, Switches, by_layer, check


def neural_memory(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    theta: Gate,
    eta: Gate | None,
    alpha: Gate | None,
    state: State,
    chunk_size: int = 16,
    activation: str = "gelu",
    residual: bool = False,
    loss: str = "sum",
    outer_gradient: bool = True,
    *,
    update_every: int = 1,
    read: str = "token",
    reset_momentum: bool = False,
    ascent: bool = False,
    written: tuple[int, ...] | None = None,
    gain: bool = False,
    memory_budget: int = MEMORY_BUDGET,
    kernel: Kernel = "auto",
) -> tuple[Tensor, State]:
    """Write every (k, v) into the memory by a step of gradient descent, and read it with q after each write.

    Paper: arXiv 2501.00663, eqs. 8 to 15 and section 3.2; y_t = M_t(q_t).

    Args:
        q, k, v: `[batch, heads, time, dim]`.
        theta: Step size, at least 0: `[batch, heads, time]`, or `[batch, heads, time, layers]` for a gate per layer, or
            a tuple over layers of `[batch, heads, time]`.
        eta: Momentum in [0, 1], shaped likewise; in a tuple also `[batch, heads, time, d_in]`, a gate for each
            channel of the layer's input. None: none.
        alpha: Forgetting in [0, 1], shaped as eta; None: none.
        state: Weights and momentum to start from.
        chunk_size: Tokens whose inner gradients are taken at the weights that the chunk started with; 1 is the
            recurrence itself. Time need not be a multiple.
        activation: "gelu" (exact), "silu" or "relu", between the layers.
        residual: M(x) = x + LayerNorm(mlp(x)), without gain, eps 1e-5.
        loss: "sum", "mean" or "half", of the squared error over dim.
        outer_gradient: False: the inner gradients are constants to the outer ones; k and v then get none.
        update_every: Tokens whose writes reach the weights together, at the last of them; divides chunk_size. Momentum
            decays by the gate of the first of them, weights forget by that of the last.
        read: The weights that q reads: "token", after the token's own write; "chunk", those that its chunk started
            with; "previous", those that the chunk before it started with.
        reset_momentum: Every chunk starts without momentum.
        ascent: Climb the inner loss instead, for studies of whether its direction matters.
        written: The layers that are written, counted from 0; None: all. The others stay as they are.
        gain: The last of the weights is a gain of the LayerNorm less 1, `[batch, heads, dim]`, written like the rest.
        memory_budget: Bytes that may be kept for the backward pass; what is beyond is computed once more.
        kernel: "torch"; "compiled", its steps compiled by torch; "triton", whose products are as precise as
            `torch.get_float32_matmul_precision()` says, "medium" being bfloat16; or "auto", which is torch's.

    Returns:
        y `[batch, heads, time, dim]`, and the state after the last token: a call on a whole sequence equals calls on
        its parts, split at chunk boundaries, with the state handed on.

    Raises:
        ValueError: Shapes, dtypes, devices or ranges that do not fit, or a kernel that cannot run where the tensors
            are; the message names the argument.
    """
    form = (activation, residual, loss, outer_gradient)
    how = Switches(chunk_size, *form, update_every, read, reset_momentum, ascent, written, gain)
    check(q, k, v, theta, eta, alpha, state, how)
    used = which_kernel(kernel, q, state, how, eta, alpha)
    linear = is_linear_recurrence(how, len(state.weights), eta, alpha)
    if not linear and is_plain(how, eta, alpha):
        return chunk_loop((q, k, v), (theta, eta, alpha), state, how, memory_budget, used)
    size = BLOCK if linear else chunk_size
    coefficients = _coefficients(theta, eta, alpha, len(state.weights), size, how)
    outputs = []
    for q_c, k_c, v_c, c in zip(q.split(size, 2), k.split(size, 2), v.split(size, 2), coefficients, strict=True):
        if reset_momentum:
            state = state._replace(momentum=tuple(torch.zeros_like(m) for m in state.momentum))
        writes = (linear_writes if linear else _writes)(state, k_c, v_c, c, how)
        outputs.append(_read(q_c, writes, state, c, how))
        state = _write(writes, state, c, how)
    return torch.cat(outputs, 2), state


def _coefficients(
    theta: Gate, eta: Gate | None, alpha: Gate | None, layers: int, size: int, how: Switches
) -> list[tuple[Coefficients | None, ...]]:
    """Of each chunk, a layer each; None for a layer that is not written. Layers with the same gates share theirs."""
    known: dict[tuple[int, int, int], list[Coefficients]] = {}
    of_layers: list[Sequence[Coefficients | None]] = []
    gates = zip(by_layer(theta, layers), by_layer(eta, layers), by_layer(alpha, layers), strict=True)
    for layer, (step, carry, forget) in enumerate(gates):
        assert step is not None
        key = (id(step), id(carry), id(forget))
        if how.writes(layer) and key not in known:
            known[key] = chunk_coefficients(-step if how.ascent else step, carry, forget, size, how.update_every)
        of_layers.append(known[key] if how.writes(layer) else [None] * -(-step.shape[2] // size))
    return list(zip(*of_layers, strict=True))


def _writes(state: State, k: Tensor, v: Tensor, c: tuple[Coefficients | None, ...], how: Switches) -> list[Write]:
    """The inner gradients at the state that the chunk starts with."""
    weights = state.weights
    if not how.outer_gradient:
        weights, k, v = tuple(w.detach() for w in weights), k.detach(), v.detach()
    return inner_gradient(weights, k, v, how.activation, how.residual, how.loss, how.gain)


def _read(q: Tensor, writes: list[Write], state: State, c: tuple[Coefficients | None, ...], how: Switches) -> Tensor:
    """What the queries of a chunk read."""
    if how.read != "token":
        old = state.lagged if how.read == "previous" and isinstance(state, LaggedState) else state.weights
        return read_memory(old, q, how.activation, how.residual, how.gain)
    matrices, scale = split_gain(state.weights, how.gain)
    z = q
    for layer in range(len(matrices)):
        g = activate(z, how.activation) if layer else z
        z = _through_layer(g, writes[layer], state.weights[layer], state.momentum[layer], c[layer])
    if scale is None:
        return finish(q, z, how.residual)
    return finish(q, z, how.residual, _gains(writes[-1], scale, state.momentum[-1], c[-1]))


def _through_layer(g: Tensor, write: Write, weights: Tensor, momentum: Tensor, c: Coefficients | None) -> Tensor:
    """Pass queries through a layer whose weights each token has moved on."""
    if c is None:
        return g @ weights.mT
    assert write.x is not None
    anchored = (c.whole.start * g) @ weights.mT + (c.whole.drift * g) @ momentum.mT
    return anchored - c.scores(g, write.x) @ write.delta


def _gains(write: Write, scale: Tensor, momentum: Tensor, c: Coefficients | None) -> Tensor:
    """The gain less 1 that each token reads with, `[batch, heads, time, dim]`."""
    if c is None:
        return scale.unsqueeze(-2)
    assert c.mask is not None
    return c.whole.start * scale.unsqueeze(-2) + c.whole.drift * momentum.unsqueeze(-2) - c.mask @ write.delta


def _write(writes: list[Write], state: State, c: tuple[Coefficients | None, ...], how: Switches) -> State:
    """The state after the chunk."""
    layers = zip(writes, state.weights, state.momentum, c, strict=True)
    weights, momentum = zip(*(_after(write, w, m, each) for write, w, m, each in layers), strict=True)
    return LaggedState(weights, momentum, state.weights) if how.read == "previous" else MemoryState(weights, momentum)


def _after(write: Write, weights: Tensor, momentum: Tensor, c: Coefficients | None) -> tuple[Tensor, Tensor]:
    """A layer's weights and momentum after the chunk."""
    if c is None:
        return weights, momentum
    whole = c.whole
    if write.x is None:
        start, drift, decay = (x.squeeze(-2) for x in (whole.start[..., -1:, :], whole.drift[..., -1:, :], whole.decay))
        into_weights, into_momentum = ((x * write.delta).sum(-2) for x in (whole.into_weights, whole.into_momentum))
    else:
        start, drift, decay = whole.start[..., -1:, :], whole.drift[..., -1:, :], whole.decay
        both = torch.cat((whole.into_weights * write.x, whole.into_momentum * write.x), -1)
        into_weights, into_momentum = (write.delta.mT @ both).chunk(2, -1)
    return start * weights + drift * momentum - into_weights, decay * momentum - into_momentum
