"""Compute the optimal parameters and tokens for a budget of FLOPs (Hoffmann et al., arXiv 2203.15556, eq. 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from titans_lab.stats.scaling.law import Law


@dataclass(frozen=True)
class Frontier:
    """The compute-optimal sizes of a law in (parameters, tokens), for budgets C = cost x parameters x tokens.

    Attributes:
        a: parameters grow as C^a, a = beta / (alpha + beta).
        b: tokens grow as C^b, b = 1 - a.
        log_ratio: log G, of parameters = G (C / cost)^a and tokens = (C / cost)^b / G.
        cost: FLOPs a token and parameter, about 6 for a transformer.
    """

    a: float
    b: float
    log_ratio: float
    cost: float

    def parameters(self, flops: np.ndarray) -> np.ndarray:
        """Return the parameters of the best model for each budget."""
        return np.exp(self.log_ratio + self.a * np.log(flops / self.cost))

    def tokens(self, flops: np.ndarray) -> np.ndarray:
        """Return the tokens that the best model is trained on."""
        return np.exp(-self.log_ratio + self.b * np.log(flops / self.cost))


def frontier(law: Law, cost: float = 6.0) -> Frontier:
    """Return the compute-optimal frontier of a law."""
    (alpha, beta), (log_a, log_b) = law.exponents, law.log_amplitudes
    log_ratio = (np.log(alpha / beta) + log_a - log_b) / (alpha + beta)
    return Frontier(beta / (alpha + beta), alpha / (alpha + beta), float(log_ratio), cost)


def parameter_exponent(law: Law) -> float:
    """Return a, the exponent of the best number of parameters against the budget."""
    return law.exponents[1] / sum(law.exponents)
