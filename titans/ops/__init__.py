"""Pure functions on tensors, no modules, no configuration: an operator a folder, a naive form beside each fast one."""

from titans.ops.gated_delta_rule import gated_delta_rule, naive_gated_delta_rule
from titans.ops.gated_linear_attention import gated_linear_attention, naive_gated_linear_attention
from titans.ops.neural_memory import MemoryState, naive_neural_memory, neural_memory, read_memory

__all__ = [
    "MemoryState",
    "gated_delta_rule",
    "gated_linear_attention",
    "naive_gated_delta_rule",
    "naive_gated_linear_attention",
    "naive_neural_memory",
    "neural_memory",
    "read_memory",
]
