"""Any switches of the operator, drawn together: the closed form equals the naive form."""

from __future__ import annotations

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from memory_case import results, worst_error

from titans.ops import MemoryState, naive_neural_memory, neural_memory

#: A memory that climbs its loss can blow up within a few tokens; past this, rounding is all that is compared.
LARGEST = 1e4
GATES = ("head", "layer", "tuple", "channel")


@st.composite
def cases(draw):
    """Arguments and switches of a call, ends of the gates' range included."""
    depth, update_every = draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, 2, 3]))
    residual = draw(st.booleans())
    gain = residual and draw(st.booleans())
    switches = {
        "chunk_size": update_every * draw(st.integers(1, 6)),
        "activation": draw(st.sampled_from(["gelu", "silu", "relu"])),
        "residual": residual,
        "loss": draw(st.sampled_from(["sum", "mean", "half"])),
        "outer_gradient": draw(st.booleans()),
        "update_every": update_every,
        "read": draw(st.sampled_from(["token", "token", "chunk", "previous"])),
        "reset_momentum": draw(st.booleans()),
        "ascent": draw(st.integers(0, 3)) == 0,
        "written": draw(st.none() | st.sets(st.integers(0, depth + gain - 1)).map(lambda s: tuple(sorted(s)))),
        "gain": gain,
        "objective": draw(st.sampled_from(["l2", "l2", "lp", "huber", "dot"])),
        "power": draw(st.sampled_from([1.5, 2.0, 3.0])),
        "window": draw(st.sampled_from([1, 1, 1, 2, 3, 9])),
        "optimizer": draw(st.sampled_from(["gd", "gd", "gd", "muon"])),
    }
    if switches["optimizer"] == "muon":  # whose derivative divides by the momentum, small where a power of errors is
        switches["power"] = min(switches["power"], 1.5)
    if switches["optimizer"] == "muon" and gain:  # a gain is no matrix
        switches["written"] = tuple(layer for layer in switches["written"] or range(depth) if layer < depth)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    step = (0.005 if switches["ascent"] else 0.05) / switches["window"]  # a window sums as many
    arguments = _arguments(draw, depth, gain, step, generator)
    if switches["optimizer"] == "muon":  # steps of 0 alone say nothing about their shares
        arguments["theta"] = _above_zero(arguments["theta"])
    if switches["objective"] == "huber":  # thresholds below and above the norms of the errors
        bounds = 2 * torch.rand(arguments["q"].shape[:3], generator=generator, dtype=torch.float64) + 0.01
        arguments["threshold"] = bounds.requires_grad_()
    if switches["window"] > 1:
        arguments |= _window(draw, switches["window"], arguments, generator)
    return arguments, switches


def _above_zero(theta):
    if isinstance(theta, tuple):
        return tuple(map(_above_zero, theta))
    return (theta.detach() + 1e-3).requires_grad_()


def _window(draw, window, arguments, generator):
    """Gates of a window, and what the tokens before the first one wrote, as many as are drawn."""
    (batch, heads, time, dim), before = arguments["q"].shape, draw(st.integers(0, window - 1))

    def leaf(*shape):
        return torch.rand(batch, heads, *shape, generator=generator, dtype=torch.float64).requires_grad_()

    recent = [leaf(before, dim), leaf(before, dim)]
    if "threshold" in arguments:
        recent.append(leaf(before))
    return {"gamma": leaf(time, window), "recent": tuple(recent) if before else None}


def _arguments(draw, depth, gain, step, generator):
    time, dim, expansion, batch, heads = draw(st.integers(1, 20)), 4, draw(st.integers(1, 2)), 2, 1
    widths = [dim] + [dim * expansion] * (depth - 1) + [dim]

    def leaf(*shape, scale=1.0):
        return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).requires_grad_()

    def fast(scale):
        matrices = [leaf(batch, heads, o, i, scale=scale) for o, i in zip(widths[1:], widths[:-1], strict=True)]
        return (*matrices, leaf(batch, heads, dim, scale=scale)) if gain else tuple(matrices)

    state = MemoryState(fast(0.5), fast(0.1))
    layers = len(state.weights)

    def gate(scale, ends, *, channels):
        def one(*shape):
            x = scale * torch.rand(*shape, generator=generator, dtype=torch.float64)
            if ends:  # some gates shut, some wide open
                x = torch.where(torch.rand(*shape, generator=generator, dtype=torch.float64) < 0.2, 0.0, x)
                x = torch.where(torch.rand(*shape, generator=generator, dtype=torch.float64) < 0.1, scale, x)
            return x.requires_grad_()

        kind = draw(st.sampled_from(GATES if channels else GATES[:3]))
        if kind == "head":
            return one(batch, heads, time)
        if kind == "layer":
            return one(batch, heads, time, layers)
        wide = [kind == "channel" and not (gain and i == layers - 1) for i in range(layers)]
        inputs = [w.shape[-1] for w in state.weights]
        return tuple(one(batch, heads, time, *([d] if w else [])) for d, w in zip(inputs, wide, strict=True))

    ends = draw(st.booleans())
    return {
        "q": leaf(batch, heads, time, dim, scale=0.5),
        "k": leaf(batch, heads, time, dim, scale=0.5),
        "v": leaf(batch, heads, time, dim, scale=0.5),
        "theta": gate(step, ends, channels=False),
        "eta": gate(1.0, ends, channels=True) if draw(st.booleans()) else None,
        "alpha": gate(1.0 if ends else 0.3, ends, channels=True) if draw(st.booleans()) else None,
        "state": state,
    }


@settings(max_examples=500, deadline=None)
@given(cases())
def test_closed_form_equals_the_recurrence_for_any_switches(case):
    arguments, switches = case
    naive = results(naive_neural_memory, arguments, **switches)
    rough = switches["objective"] == "lp" or switches["optimizer"] == "muon"  # they amplify the rounding
    largest = 100.0 if rough else LARGEST
    assume(all(x.abs().max() < largest for x in naive.values()))
    errors = worst_error(results(neural_memory, arguments, **switches), naive)
    assert max(errors.values()) < 1e-9, errors
