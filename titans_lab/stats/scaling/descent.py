"""The optima of many weighted fits of a law at once: Levenberg-Marquardt steps on reweighted squares.

Huber's loss of a residual r with delta d has the gradient of a square with the weight min(1, d / |r|) (iteratively
reweighted least squares, Holland & Welsch 1977). A step that does not lower the objective is not taken, and the next
one is shorter (Marquardt 1963).
"""

from __future__ import annotations

import numpy as np

STEPS = 400
GAIN = 1e-13  # relative: what gains less has arrived, or can go nowhere
SHRINK, GROW = 0.3, 4.0  # factors of the damping after a step that is taken and one that is not
DAMPINGS = (1e-12, 1e12)
STEEPEST = 20.0  # an exponent beyond it is a jump between two sizes, and no power law


def objectives(
    vectors: np.ndarray, log_x: np.ndarray, log_loss: np.ndarray, weights: np.ndarray, delta: float
) -> np.ndarray:
    """Return the sum of Huber's losses of each law, `[laws]`.

    Args:
        vectors: The laws, `[laws, 1 + 2 variables]`.
        log_x: The points, `[points, variables]`.
        log_loss: What was measured, `[points]`.
        weights: How often a law's fit counts each point, `[laws or 1, points]`.
        delta: Residuals beyond it count linearly.
    """
    residual = _curves(vectors, log_x)[0] - log_loss
    slope = np.clip(residual, -delta, delta)
    return np.sum(weights * slope * (residual - slope / 2), axis=1)


def descend(
    vectors: np.ndarray, log_x: np.ndarray, log_loss: np.ndarray, weights: np.ndarray, delta: float, gain: float = GAIN
) -> np.ndarray:
    """Return the laws that are found from `vectors`.

    Arguments as of `objectives`, and `gain`, the relative gain below which a law has arrived.
    """
    best, damping = objectives(vectors, log_x, log_loss, weights, delta), np.full(len(vectors), 1e-3)
    vectors, left = vectors.copy(), np.arange(len(vectors))
    for _ in range(STEPS):
        tried = vectors[left] + _steps(vectors[left], log_x, log_loss, weights[left], delta, damping[left])
        variables = log_x.shape[1]
        tried[:, 1 + variables :] = np.clip(tried[:, 1 + variables :], 0.0, STEEPEST)
        reached = objectives(tried, log_x, log_loss, weights[left], delta)
        lower = reached < best[left]
        gained = lower & (best[left] - reached > gain * best[left])
        vectors[left[lower]], best[left[lower]] = tried[lower], reached[lower]
        damping[left] = np.clip(damping[left] * np.where(lower, SHRINK, GROW), *DAMPINGS)
        left = left[gained | (~lower & (damping[left] < DAMPINGS[1]))]
        if not len(left):
            break
    return vectors


def _curves(vectors: np.ndarray, log_x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log L of each law `[laws, points]`, and the share of each term in L `[laws, points, 1 + variables]`."""
    variables = log_x.shape[1]
    sloping = vectors[:, None, 1 : 1 + variables] - vectors[:, None, 1 + variables :] * log_x
    terms = np.concatenate([np.broadcast_to(vectors[:, None, :1], (*sloping.shape[:2], 1)), sloping], axis=2)
    total = np.logaddexp.reduce(terms, axis=2)
    return total, np.exp(terms - total[:, :, None])


def _steps(
    vectors: np.ndarray,
    log_x: np.ndarray,
    log_loss: np.ndarray,
    weights: np.ndarray,
    delta: float,
    damping: np.ndarray,
) -> np.ndarray:
    """Return a damped Gauss-Newton step of each law."""
    curve, share = _curves(vectors, log_x)
    residual = curve - log_loss
    slopes = np.concatenate([share, -share[:, :, 1:] * log_x], axis=2)
    weighted = slopes * (weights * np.minimum(1.0, delta / np.maximum(np.abs(residual), 1e-300)))[:, :, None]
    normal = np.einsum("lpi,lpj->lij", weighted, slopes)
    scale = np.einsum("lii->li", normal) + 1e-30
    normal += np.einsum("li,ij->lij", damping[:, None] * scale, np.eye(normal.shape[1]))
    return -np.linalg.solve(normal, np.einsum("lpi,lp->li", weighted, residual)[:, :, None])[:, :, 0]
