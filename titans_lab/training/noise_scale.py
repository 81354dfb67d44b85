"""Estimate the gradient noise scale from the norms of two gradients (McCandlish et al., 2018, appendix A)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return the norm of the present gradients, a scalar `[]`."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def estimates(small: Tensor, large: Tensor, examples: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return unbiased estimates of the true gradient's squared norm, and of the trace of one example's covariance.

    Args:
        small: The norm of the mean gradient over some examples, a scalar `[]`.
        large: The norm over more examples, which may include these.
        examples: The number of both.
    """
    few, many = examples
    small, large = small.square(), large.square()
    return (many * large - few * small) / (many - few), (small - large) / (1 / few - 1 / many)


def noise_of(steps: Sequence[tuple[float, ...]]) -> dict[str, float | None]:
    """Return the noise scale and its two estimates over some steps, as columns of the view `metrics`.

    Args:
        steps: The figures of each step. Without the two estimates after loss and norm, there is no column.
    """
    noise = [step[2:] for step in steps]
    if not noise[0]:
        return {}
    square, variance = (sum(values) / len(noise) for values in zip(*noise, strict=True))
    scale = variance / square if square > 0 and variance > 0 else None
    return {"noise_scale": scale, "grad_variance": variance, "grad_square": square}
