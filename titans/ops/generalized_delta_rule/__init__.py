"""Delta rules whose erased key, written key and decay differ from those of Gated DeltaNet.

A token lets the state decay, S = diag(a_t) S_{t-1}. Then each of its steps erases what one key finds and writes with
another key, S = S + k (v - e^T S). The token reads y_t = S_t^T q_t. The rules are this recurrence with other keys:

| rule | erased key e | written key k | value v | decay a for each |
|---|---|---|---|---|
| `kda` | b k | k | b v | channel |
| `gated_delta_rule_2` | b * k | k | w * v | channel |
| `gated_delta_product`, n steps | b_j k_j | k_j | b_j v_j | head |
| `comba`, which finds e^T S_{t-1}, before the decay | b p | k | b v | head |
| `rwkv7`, which finds e^T S_{t-1}, too, then writes k v^T | r | b * r | 0 | channel |

The functions of `rules` work chunk by chunk in matrix products, those of `naive` token by token as in the papers.
"""

from titans.ops.generalized_delta_rule.naive import (
    naive_comba,
    naive_gated_delta_product,
    naive_gated_delta_rule_2,
    naive_kda,
    naive_rwkv7,
)
from titans.ops.generalized_delta_rule.rules import comba, gated_delta_product, gated_delta_rule_2, kda, rwkv7

__all__ = [
    "comba",
    "gated_delta_product",
    "gated_delta_rule_2",
    "kda",
    "naive_comba",
    "naive_gated_delta_product",
    "naive_gated_delta_rule_2",
    "naive_kda",
    "naive_rwkv7",
    "rwkv7",
]
