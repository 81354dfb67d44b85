"""Pure functions on tensors, without modules and configuration.

Each operator has a folder, with a reference implementation, `naive.py`, beside its fast forms.
"""

from titans.ops.gated_delta_rule import gated_delta_rule, naive_gated_delta_rule
from titans.ops.gated_linear_attention import gated_linear_attention, naive_gated_linear_attention
from titans.ops.neural_memory import MemoryState, naive_neural_memory, neural_memory, read_memory
from titans.ops.selective_scan import naive_selective_scan, selective_scan

__all__ = [
    "MemoryState",
    "gated_delta_rule",
    "gated_linear_attention",
    "naive_gated_delta_rule",
    "naive_gated_linear_attention",
    "naive_neural_memory",
    "naive_selective_scan",
    "neural_memory",
    "read_memory",
    "selective_scan",
]
