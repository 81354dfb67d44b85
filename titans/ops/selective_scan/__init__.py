"""The selective state space of Mamba (arXiv 2312.00752): each channel's state decays and is written as the token says.

    h_t = exp(delta_t A) h_{t-1} + delta_t x_t B_t        y_t = C_t . h_t

`selective_scan` works chunk by chunk, `naive_selective_scan` token by token.
"""

from titans.ops.selective_scan.chunk import selective_scan
from titans.ops.selective_scan.naive import naive_selective_scan

__all__ = ["naive_selective_scan", "selective_scan"]
