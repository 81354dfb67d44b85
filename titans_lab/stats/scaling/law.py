"""The curve: L(x) = E + sum over variables of A / x^alpha."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Law:
    """A power law with offset: L = E + A / N^alpha + B / D^beta (arXiv 2203.15556, eq. 2), or one variable of it.

    Attributes:
        log_offset: log E, of the loss that no size takes away.
        log_amplitudes: log A of each variable.
        exponents: alpha of each variable.
    """

    log_offset: float
    log_amplitudes: tuple[float, ...]
    exponents: tuple[float, ...]

    @property
    def offset(self) -> float:
        """Return E, the irreducible loss."""
        return float(np.exp(self.log_offset))

    @property
    def amplitudes(self) -> tuple[float, ...]:
        """Return a of each variable; may overflow to infinity where its exponent is large."""
        with np.errstate(over="ignore"):
            return tuple(float(value) for value in np.exp(self.log_amplitudes))

    def log_loss(self, x: np.ndarray) -> np.ndarray:
        """Return log L at `x` `[points, variables]`, as a log-sum-exp, which does not overflow."""
        return np.logaddexp.reduce(log_terms(self.vector(), np.log(x)), axis=1)

    def loss(self, x: np.ndarray) -> np.ndarray:
        """Return the loss L at `x` `[points, variables]`."""
        return np.exp(self.log_loss(x))

    def vector(self) -> np.ndarray:
        """Return the vector (log E, log A ..., alpha ...)."""
        return np.array([self.log_offset, *self.log_amplitudes, *self.exponents])

    @classmethod
    def of(cls, vector: np.ndarray) -> Law:
        """Return the law of a vector, the inverse of `vector`."""
        offset, *others = vector.tolist()
        half = len(others) // 2
        return cls(offset, tuple(others[:half]), tuple(others[half:]))


def log_terms(vector: np.ndarray, log_x: np.ndarray) -> np.ndarray:
    """Return log E and each log A - alpha log x, `[points, 1 + variables]`."""
    points, variables = log_x.shape
    sloping = vector[1 : 1 + variables] - vector[1 + variables :] * log_x
    return np.concatenate([np.full((points, 1), vector[0]), sloping], axis=1)
