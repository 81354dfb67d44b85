"""The delta rule with decay: DeltaNet (arXiv 2406.06484) and Gated DeltaNet (arXiv 2412.06464).

    S_t = a_t (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T        y_t = S_t^T q_t

`gated_delta_rule` works chunk by chunk in matrix products, `naive_gated_delta_rule` token by token.
"""

from titans.ops.gated_delta_rule.chunk import gated_delta_rule
from titans.ops.gated_delta_rule.naive import naive_gated_delta_rule

__all__ = ["gated_delta_rule", "naive_gated_delta_rule"]
