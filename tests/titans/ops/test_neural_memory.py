from __future__ import annotations

import pytest
import torch
from memory_case import leaves, memory_arguments, results, worst_error

from titans.ops import MemoryState, naive_neural_memory, neural_memory, read_memory

TOLERANCE = 1e-9


def assert_equal_to_naive(arguments, **switches):
    errors = worst_error(
        results(neural_memory, arguments, **switches), results(naive_neural_memory, arguments, **switches)
    )
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("chunk_size", [1, 4, 16, 64])
@pytest.mark.parametrize("time", [1, 15, 63, 200])
def test_closed_form_equals_token_by_token(depth, chunk_size, time):
    arguments = memory_arguments(time, depth, batch=1 if time > 63 else 2)
    assert_equal_to_naive(arguments, chunk_size=chunk_size)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ["gelu", "silu", "relu"])
@pytest.mark.parametrize("loss", ["sum", "mean", "half"])
def test_memory_forms_and_losses(residual, activation, loss):
    arguments = memory_arguments(21, 3)
    assert_equal_to_naive(arguments, chunk_size=8, residual=residual, activation=activation, loss=loss)


@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("forgetting", [False, True])
@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("outer_gradient", [False, True])
def test_gates_off_shared_and_stopped(momentum, forgetting, per_layer, outer_gradient):
    arguments = memory_arguments(21, 2, momentum=momentum, forgetting=forgetting, per_layer=per_layer)
    assert_equal_to_naive(arguments, chunk_size=8, residual=True, outer_gradient=outer_gradient)


def test_stopped_outer_gradient_reaches_gates_queries_and_state_only():
    found = results(neural_memory, memory_arguments(9, 2), chunk_size=4, outer_gradient=False)
    reached = {name for name, x in found.items() if x.any()}
    assert {"d/d q", "d/d theta", "d/d eta", "d/d alpha", "d/d weights[0]", "d/d momentum[1]"} <= reached
    assert not {"d/d k", "d/d v"} & reached


@pytest.mark.parametrize("name", ["theta", "eta", "alpha"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gates_at_their_ends(name, value):
    arguments = memory_arguments(21, 2)
    some = torch.rand_like(arguments[name]) < 0.3
    arguments[name] = torch.where(some, value, arguments[name].detach()).requires_grad_()
    assert_equal_to_naive(arguments, chunk_size=8)


def test_mixed_gates_one_shared_one_per_layer():
    arguments = memory_arguments(21, 3)
    arguments["eta"] = torch.rand(2, 2, 21, dtype=torch.float64, requires_grad=True)
    assert_equal_to_naive(arguments, chunk_size=8)


def test_parts_split_at_chunk_boundaries_give_the_whole():
    arguments = memory_arguments(22, 3)
    whole, end = neural_memory(**arguments, chunk_size=4)
    state, parts = arguments["state"], []
    for begin, stop in ((0, 8), (8, 12), (12, 22)):
        part = {name: x if name == "state" else x[:, :, begin:stop] for name, x in arguments.items()}
        y, state = neural_memory(**part | {"state": state}, chunk_size=4)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state.weights + state.momentum, end.weights + end.momentum, rtol=0, atol=1e-12)


def test_gradient_passes_gradcheck():
    arguments = memory_arguments(5, 2, batch=1, heads=1, dim=2)
    names, tensors = zip(*leaves(arguments).items(), strict=True)

    def scalar_form(*values):
        by = dict(zip(names, values, strict=True))
        weights = tuple(by.pop(f"weights[{i}]") for i in range(2))
        state = MemoryState(weights, tuple(by.pop(f"momentum[{i}]") for i in range(2)))
        y, end = neural_memory(**by, state=state, chunk_size=2, residual=False)
        return (y, *end.weights, *end.momentum)

    assert torch.autograd.gradcheck(scalar_form, tensors)


def test_writing_lowers_the_loss_on_what_was_written():
    arguments = memory_arguments(32, 2, momentum=False, forgetting=False)
    _, end = neural_memory(**arguments, chunk_size=1)
    before, after = (
        (read_memory(weights, arguments["k"]) - arguments["v"]).square().sum()
        for weights in (arguments["state"].weights, end.weights)
    )
    assert after < before


def test_keys_that_were_read_from_the_memory_are_constants_to_its_inner_loss():
    """As in memory as context: the outer gradient goes through both, the inner one through the loss alone."""

    def answers(operator):
        arguments = memory_arguments(5, 2)
        k = arguments["k"] + read_memory(arguments["state"].weights, arguments["q"])
        y, end = operator(**arguments | {"k": k}, chunk_size=4)
        total = y.square().sum() + sum(w.square().sum() for w in end.weights)
        return [y, *end.weights, *torch.autograd.grad(total, arguments["state"].weights)]

    seed = torch.initial_seed()
    torch.manual_seed(seed)
    found = answers(neural_memory)
    torch.manual_seed(seed)
    for a, b in zip(found, answers(naive_neural_memory), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_without_gradient_the_naive_form_still_runs():
    arguments = memory_arguments(7, 2)
    with torch.no_grad():
        y, _ = naive_neural_memory(**arguments)
        fast, _ = neural_memory(**arguments)
    assert not y.requires_grad
    torch.testing.assert_close(fast, y, rtol=0, atol=1e-12)


def wrong(**changes):
    return memory_arguments(5, 2) | changes


@pytest.mark.parametrize("operator", [neural_memory, naive_neural_memory])
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (wrong(q=torch.zeros(2, 2, 5)), "q"),
        (wrong(k=torch.zeros(2, 2, 4, 6, dtype=torch.float64)), "k"),
        (wrong(v=torch.zeros(2, 2, 5, 6)), "v"),
        (wrong(theta=torch.zeros(2, 2, 5, 3, dtype=torch.float64)), "theta"),
        (wrong(theta=-torch.ones(2, 2, 5, dtype=torch.float64)), "theta"),
        (wrong(eta=2 * torch.ones(2, 2, 5, dtype=torch.float64)), "eta"),
        (wrong(alpha=torch.zeros(2, 5, dtype=torch.float64)), "alpha"),
        (wrong(state=MemoryState((), ())), "state"),
        (wrong(state=MemoryState((torch.zeros(2, 2, 5, 6, dtype=torch.float64),) * 2, ())), "state"),
        (wrong(chunk_size=0), "chunk_size"),
        (wrong(activation="tanh"), "activation"),
        (wrong(loss="max"), "loss"),
    ],
)
def test_wrong_arguments_are_named(operator, arguments, named):
    with pytest.raises(ValueError, match=rf"^{named}"):
        operator(**arguments)


def test_a_state_of_the_wrong_shape_names_the_layer():
    arguments = memory_arguments(5, 2)
    weights, momentum = arguments["state"]
    with pytest.raises(ValueError, match=r"state\.momentum\[1\]: expected"):
        neural_memory(**arguments | {"state": MemoryState(weights, (momentum[0], momentum[0]))})


@pytest.mark.parametrize("time", [1, 8, 41, 200])
@pytest.mark.parametrize("per_layer", [False, True])
def test_products_that_are_not_kept_are_recomputed(time, per_layer):
    """Without a budget chunks go in groups, and their products are computed twice."""
    arguments = memory_arguments(time, 3, per_layer=per_layer, batch=1)
    again = results(neural_memory, arguments, chunk_size=4, memory_budget=0)
    errors = worst_error(again, results(naive_neural_memory, arguments, chunk_size=4))
    assert max(errors.values()) < TOLERANCE, errors


def test_a_gradient_can_be_taken_twice_of_one_forward_pass():
    arguments = memory_arguments(21, 2)
    y, _ = neural_memory(**arguments, chunk_size=4)
    first, second = (torch.autograd.grad(y.square().sum(), arguments["k"], retain_graph=True)[0] for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("operator", [neural_memory, naive_neural_memory])
@pytest.mark.parametrize("switches", [{}, {"read": "chunk"}, {"update_every": 2}, {"reset_momentum": True}], ids=str)
def test_a_chunk_in_parts_gives_the_whole_in_values_and_gradients(operator, switches):
    arguments = memory_arguments(8, 2)
    streams = [name for name in arguments if name != "state"]

    def in_parts(state, **given):
        opening, parts = None, []
        for begin, stop in ((0, 4), (4, 6), (6, 8)):
            part = {name: given[name][:, :, begin:stop] for name in streams}
            y, after = operator(**part, state=state, chunk_size=8, opening=opening, **switches)
            opening, state = opening or arguments["state"], after
            parts.append(y)
        return torch.cat(parts, 2), state

    whole = results(naive_neural_memory, arguments, chunk_size=8, **switches)
    assert max(worst_error(results(in_parts, arguments), whole).values()) < TOLERANCE


@pytest.mark.parametrize("operator", [neural_memory, naive_neural_memory])
def test_the_rest_of_a_chunk_is_no_longer_than_a_chunk(operator):
    arguments = memory_arguments(5, 1)
    with pytest.raises(ValueError, match="opening: 5 tokens are more than the rest of a chunk of 4"):
        operator(**arguments, chunk_size=4, opening=arguments["state"])


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize(
    ("depth", "expansion", "shapes"), [(1, 4, [(8, 8)]), (2, 3, [(24, 8), (8, 24)]), (3, 1, [(8, 8)] * 3)]
)
def test_an_initial_state_starts_a_stream(depth: int, expansion: int, shapes: list[tuple[int, int]]):
    form = {"dim": 8, "heads": 2, "batch": 3, "dtype": torch.float64}
    state = MemoryState.initial(depth, expansion, generator=seeded(), **form)
    assert [tuple(w.shape) for w in state.weights] == [(3, 2, *shape) for shape in shapes]
    assert all(torch.equal(w[0], w[2]) for w in state.weights)
    assert not any(s.any() for s in state.momentum)
    assert state.weights[0].std().item() == pytest.approx(8**-0.5, rel=0.4)
    q, k, v = torch.randn(3, 3, 2, 5, 8, dtype=torch.float64, generator=seeded())
    theta = torch.full((3, 2, 5), 0.1, dtype=torch.float64)
    y, _ = neural_memory(q, k, v, theta, None, None, state, chunk_size=4)
    assert y.shape == q.shape
    again = MemoryState.initial(depth, expansion, generator=seeded(), **form)
    assert all(map(torch.equal, again.weights, state.weights))


def test_a_missing_state_is_answered_with_how_to_make_one():
    x = torch.zeros(1, 1, 2, 4)
    with pytest.raises(ValueError, match=r"^state: is None; give one, such as MemoryState\.initial\(depth"):
        neural_memory(x, x, x, x[..., 0], None, None, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^heads: 0 is below 1"):
        MemoryState.initial(1, dim=4, heads=0)
