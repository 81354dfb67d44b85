"""The delta rule with momentum: Momentum DeltaNet (MDN, arXiv 2605.05838).

    M_t = m_t M_{t-1} + eta_t k_t (v_t - p_t^T S_{t-1})^T      S_t = a_t S_{t-1} + b_t M_t      y_t = S_t^T q_t

With p = k and b = 1 it is a linear memory of Titans at chunk_size 1. `momentum_delta_rule` works chunk by chunk in
matrix products, `naive_momentum_delta_rule` token by token.
"""

from titans.ops.momentum_delta_rule.chunk import momentum_delta_rule
from titans.ops.momentum_delta_rule.naive import naive_momentum_delta_rule

__all__ = ["momentum_delta_rule", "naive_momentum_delta_rule"]
