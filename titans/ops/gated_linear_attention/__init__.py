"""Linear attention with decay: linear attention, RetNet, GLA and Mamba-2 are calls of it.

    S_t = diag(a_t) S_{t-1} + k_t v_t^T        y_t = S_t^T q_t

`gated_linear_attention` works chunk by chunk in matrix products, `naive_gated_linear_attention` token by token.
"""

from titans.ops.gated_linear_attention.chunk import gated_linear_attention
from titans.ops.gated_linear_attention.naive import naive_gated_linear_attention

__all__ = ["gated_linear_attention", "naive_gated_linear_attention"]
