"""The inner objective: what a write minimises, its derivative by what the memory says, and the second derivative.

MIRAS (arXiv 2504.13173) calls it the attentional bias. Only this derivative differs between objectives: all below it,
and the closed form, stay. With e = M(k) - v and c the factor of `loss` (1 for "sum", 1 / dim for "mean", 1/2 for
"half"):

    l2      c ||e||^2                                    Titans
    lp      c sum (e^2 + EPS)^(p/2)                      Moneta; the paper smooths |e| and the sign, and EPS is ours
    huber   c ||e||^2 where ||e|| <= d, else c (2 d ||e|| - d^2)     Yaad; d is a threshold of the token
    dot     -2 c <M(k), v>                               linear attention and LaCT: no surprise at depth 1
"""

from __future__ import annotations

from torch import Tensor

from titans.ops.neural_memory.state import Switches

EPS = 1e-6  # added to the square of an error in `lp`, so that every power has a derivative at 0


def loss_slope(loss: str, dim: int) -> float:
    """Return the derivative of the objective l2 with respect to the error, over the error."""
    return {"sum": 2.0, "mean": 2.0 / dim, "half": 1.0}[loss]


def objective_value(answer: Tensor, v: Tensor, switches: Switches, threshold: Tensor | None) -> Tensor:
    """Return the objective of each token `[...]`, for what the memory says and v `[..., D]`, threshold `[..., 1]`."""
    scale, error = loss_slope(switches.loss, v.shape[-1]) / 2, answer - v
    if switches.objective == "lp":
        return scale * (error.square() + EPS).pow(switches.power / 2).sum(-1)
    if switches.objective == "dot":
        return -2 * scale * (answer * v).sum(-1)
    squares = error.square().sum(-1)
    if threshold is None:
        return scale * squares
    bound = threshold.squeeze(-1)
    return scale * (bound * (2 * squares.clamp(min=bound.square()).sqrt() - bound)).where(
        squares > bound.square(), squares
    )


def objective_gradient(answer: Tensor, v: Tensor, switches: Switches, threshold: Tensor | None) -> Tensor:
    """Return the derivative of the objective by what the memory says; all `[..., D]`, the threshold `[..., 1]`."""
    slope, error = loss_slope(switches.loss, v.shape[-1]), answer - v
    if switches.objective == "lp":
        return slope / 2 * switches.power * error * (error.square() + EPS).pow(switches.power / 2 - 1)
    if switches.objective == "dot":
        return -slope * v
    if threshold is None:
        return slope * error
    norm = error.square().sum(-1, keepdim=True).clamp(min=threshold.square()).sqrt()
    return slope * error * (threshold / norm)


def objective_curvature(
    answer: Tensor, v: Tensor, switches: Switches, gradient: Tensor
) -> tuple[Tensor | None, Tensor]:
    """Return the gradients by what the memory says and by v, from that by `objective_gradient`; all `[..., D]`.

    The first is None where the derivative does not depend on what the memory says. Without the objective huber.
    """
    slope = loss_slope(switches.loss, v.shape[-1])
    if switches.objective == "dot":
        return None, -slope * gradient
    if switches.objective == "l2":
        by_answer = slope * gradient
    else:
        power, squares = switches.power, (answer - v).square()
        curved = (squares + EPS).pow(power / 2 - 2) * ((power - 1) * squares + EPS)
        by_answer = slope / 2 * power * curved * gradient
    return by_answer, -by_answer
