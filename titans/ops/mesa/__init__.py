"""The mesa layer (arXiv 2506.05233): the values read are those that fit all keys so far best, by ridge regression.

    H_t = a_t H_{t-1} + b_t k_t k_t^T      G_t = a_t G_{t-1} + b_t k_t v_t^T      y_t = G_t^T (H_t + diag(ridge))^-1 q_t

`mesa` solves by conjugate gradients for all tokens of a chunk at once, `naive_mesa` exactly, token by token.
"""

from titans.ops.mesa.chunk import mesa
from titans.ops.mesa.naive import naive_mesa

__all__ = ["mesa", "naive_mesa"]
