"""The memory operator: checks its arguments, chooses a kernel and hands the sequence to it."""

from __future__ import annotations

from torch import Tensor

from titans.ops.neural_memory.autograd import GatePlaces, Schedule, memory_policy, scan_rest, scan_sequence
from titans.ops.neural_memory.checks import check
from titans.ops.neural_memory.kernels import KernelName, choose_scan
from titans.ops.neural_memory.state import Gate, State, Switches, by_layer, is_per_channel
from titans.ops.neural_memory.window import with_halo

MEMORY_BUDGET = 512 * 2**20  # bytes; twice the need of 8 heads of width 64, depth 2, chunk 64 at 4,096 tokens


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
    objective: str = "l2",
    power: float = 3.0,
    threshold: Tensor | None = None,
    window: int = 1,
    gamma: Tensor | None = None,
    recent: tuple[Tensor, ...] | None = None,
    optimizer: str = "gd",
    opening: State | None = None,
    memory_budget: int = MEMORY_BUDGET,
    kernel: KernelName = "auto",
) -> tuple[Tensor, State]:
    """Write every (k, v) into the memory by a step of gradient descent, and read it with q after each write.

    Paper: arXiv 2501.00663, eqs. 8 to 15 and section 3.2; y_t = M_t(q_t).

    Args:
        q, k, v: `[batch, heads, time, dim]`.
        theta: Step size, at least 0: `[batch, heads, time]`, or `[batch, heads, time, layers]` for a gate per layer, or
            a tuple over layers of `[batch, heads, time]`.
        eta: Momentum in [0, 1], shaped like theta. In a tuple also `[batch, heads, time, d_in]`, a gate for each
            channel of the layer's input. None: no momentum.
        alpha: Forgetting in [0, 1], shaped like eta. None: no forgetting.
        state: The weights and the momentum to start from.
        chunk_size: Tokens whose inner gradients are taken at the weights that the chunk started with; 1 is the
            recurrence itself. Time need not be a multiple.
        activation: The non-linearity between the layers: "gelu" (exact), "silu" or "relu".
        residual: Whether M(x) is x + LayerNorm(mlp(x)), without gain and with eps 1e-5, instead of mlp(x).
        loss: The inner loss: "sum", "mean" or "half" of the squared error over dim.
        outer_gradient: False: the inner gradients are constants to the outer ones, and k and v get no gradient.
        update_every: Tokens whose writes reach the weights together, at the last of them; divides chunk_size. Momentum
            decays by the gate of the first of them, weights forget by that of the last.
        read: The weights that q reads: "token", after the token's own write; "chunk", those that its chunk started
            with; "previous", those that the chunk before it started with.
        reset_momentum: Whether every chunk starts without momentum.
        ascent: Whether to climb the inner loss instead, for studies of whether its direction matters.
        written: The layers that are written, counted from 0. The others stay as they are. None: all.
        gain: Whether the last of the weights is a gain of the LayerNorm less 1, `[batch, heads, dim]`, written like the
            rest.
        objective: What a write minimises: "l2", the squared error; "lp", its absolute value to some power; "huber",
            which grows linearly beyond a threshold; or "dot", minus the product with v (objective.py).
        power: The power of the objective lp, at least 1.
        threshold: Each token's threshold on the norm of the error for the objective huber, above 0:
            `[batch, heads, time]`. None for the others.
        window: Tokens whose losses a token's step sums: the Omega rule of ATLAS (window.py). 1: its own alone.
        gamma: For a window above 1, each token's gates in [0, 1], `[batch, heads, time, window]`: at place j that of
            the loss of the token j before.
        recent: For a window above 1, k, v and for the objective huber the thresholds of the tokens before the first
            one, as many as the window reaches back: `[batch, heads, window - 1 or fewer, dim]`, thresholds without dim.
            None: the first token starts the sequence.
        optimizer: How a step moves the weights: "gd", by the momentum, or "muon", by theta times the momentum with its
            singular values made nearly equal, once for each group of `update_every` tokens (muon.py).
        opening: The state at the start of the chunk that these tokens continue. Then `state` is the state after the
            chunk's earlier tokens, whose number is a multiple of `update_every`, the tokens do not go beyond the chunk,
            and torch runs the call. None: the first token starts a chunk.
        memory_budget: Bytes that may be kept for the backward pass, which recomputes the rest.
        kernel: "torch"; "compiled", torch's steps compiled by torch; "cpu", the fused kernel for processors; "triton",
            whose products are as precise as `torch.get_float32_matmul_precision()` says ("medium" is bfloat16); or
            "auto", which is "cpu" on a CPU and else "torch".

    Returns:
        y `[batch, heads, time, dim]`, and the state after the last token. A call on a whole sequence equals calls on
        its parts, split at chunk boundaries, with the state handed on, and for a window the tokens before a part.

    Raises:
        ValueError: Shapes, dtypes, devices or ranges do not fit, or the kernel cannot run where the tensors are. The
            message names the argument.
    """
    form = (activation, residual, loss, outer_gradient)
    switches = Switches(
        chunk_size, *form, update_every, read, reset_momentum, ascent, written, gain, objective, power, window,
        optimizer,
    )  # fmt: skip
    check(q, k, v, theta, eta, alpha, state, switches, opening, threshold, gamma, recent)
    per_channel = is_per_channel(eta) or is_per_channel(alpha)
    scan, size = choose_scan(kernel, q, state, switches, per_channel)

    batch_and_heads, layers = q.shape[:2], len(state.weights)
    tokens, flat = [x.flatten(0, 1) for x in (q, *with_halo((k, v, threshold), recent, window))], _flat(state)
    per_layer = [by_layer(gate, layers) for gate in (theta, eta, alpha)]
    gates, places = _distinct([*per_layer, (gamma,) * layers], switches)
    schedule = Schedule(switches, scan, size, places, *memory_policy(memory_budget, tokens[0], flat, scan, size))
    flat_gates = [x.flatten(0, 1) for x in gates]
    if opening is None:
        y, end = scan_sequence(schedule, flat_gates, tokens, flat)
    else:
        y, end = scan_rest(schedule, flat_gates, tokens, flat, _flat(opening))
    back = type(end)(*(tuple(x.unflatten(0, batch_and_heads) for x in part) for part in end))
    return y.unflatten(0, batch_and_heads), back


def _flat(state: State) -> State:
    """Return a state whose batch and heads are one dimension."""
    return type(state)(*(tuple(x.flatten(0, 1) for x in part) for part in state))


def _distinct(
    gates: list[tuple[Tensor | None, ...]], switches: Switches
) -> tuple[list[Tensor], tuple[GatePlaces | None, ...]]:
    """Return the gates without repetition, and for each layer that is written the places of its four among them."""
    distinct = {id(x): x for of_layers in gates for x in of_layers if x is not None}
    place = {key: number for number, key in enumerate(distinct)}
    layers = enumerate(zip(*([place.get(id(x)) for x in of_layers] for of_layers in gates), strict=True))
    places = tuple(of_layer if switches.writes(layer) else None for layer, of_layer in layers)
    return list(distinct.values()), places
