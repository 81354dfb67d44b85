"""Log-linear attention (arXiv 2506.04761): linear attention with a state for each level of a Fenwick tree.

The level of an earlier token i at token t is the number of bits of t XOR i: 0 is the token itself, 1 its neighbour in a
pair, l the half of the block of 2^l tokens that t is not in. All older tokens are in the last level. With S^l_t the
decayed sum of k_i v_i^T over the level l, a token weighs what it reads in each level:

    y_t = sum over l of scale_t[l] (S^l_t)^T q_t

`log_linear_attention` works chunk by chunk in matrix products, `naive_log_linear_attention` token by token.
"""

from titans.ops.log_linear_attention.chunk import log_linear_attention
from titans.ops.log_linear_attention.naive import naive_log_linear_attention

__all__ = ["log_linear_attention", "naive_log_linear_attention"]
