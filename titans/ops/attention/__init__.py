"""Causal softmax attention over all earlier tokens or a window of them, with prefix tokens that all queries see."""

from titans.ops.attention.naive import naive_window_attention
from titans.ops.attention.window import attend, causal_mask, window_attention

__all__ = ["attend", "causal_mask", "naive_window_attention", "window_attention"]
