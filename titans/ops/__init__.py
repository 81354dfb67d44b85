"""Operators: pure functions on tensors, without modules and configuration.

Each operator has a folder. Its `naive.py` is the reference implementation, token by token; the other files are fast
forms.
"""

from titans.ops.gated_delta_rule import gated_delta_rule, naive_gated_delta_rule
from titans.ops.gated_linear_attention import gated_linear_attention, naive_gated_linear_attention
from titans.ops.generalized_delta_rule import (
    comba,
    gated_delta_product,
    gated_delta_rule_2,
    kda,
    naive_comba,
    naive_gated_delta_product,
    naive_gated_delta_rule_2,
    naive_kda,
    naive_rwkv7,
    rwkv7,
)
from titans.ops.log_linear_attention import log_linear_attention, naive_log_linear_attention
from titans.ops.mesa import mesa, naive_mesa
from titans.ops.momentum_delta_rule import momentum_delta_rule, naive_momentum_delta_rule
from titans.ops.neural_memory import MemoryState, naive_neural_memory, neural_memory, read_memory
from titans.ops.selective_scan import naive_selective_scan, selective_scan

__all__ = [
    "MemoryState",
    "comba",
    "gated_delta_product",
    "gated_delta_rule",
    "gated_delta_rule_2",
    "gated_linear_attention",
    "kda",
    "log_linear_attention",
    "mesa",
    "momentum_delta_rule",
    "naive_comba",
    "naive_gated_delta_product",
    "naive_gated_delta_rule",
    "naive_gated_delta_rule_2",
    "naive_gated_linear_attention",
    "naive_kda",
    "naive_log_linear_attention",
    "naive_mesa",
    "naive_momentum_delta_rule",
    "naive_neural_memory",
    "naive_rwkv7",
    "naive_selective_scan",
    "neural_memory",
    "read_memory",
    "rwkv7",
    "selective_scan",
]
