"""Random arguments of the generalized delta rules."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from recurrence_case import BATCH, D_K, D_V, HEADS, leaf, log_decays, streams

from titans import ops

#: Each rule by chunks, and its recurrence.
RULES = {
    "kda": (ops.kda, ops.naive_kda),
    "gated_delta_rule_2": (ops.gated_delta_rule_2, ops.naive_gated_delta_rule_2),
    "gated_delta_product": (ops.gated_delta_product, ops.naive_gated_delta_product),
    "comba": (ops.comba, ops.naive_comba),
    "rwkv7": (ops.rwkv7, ops.naive_rwkv7),
}
STEPS = 3


def unit(*shape):
    return leaf(F.normalize(torch.randn(shape), dim=-1))


def share(*shape):
    """Values in [0, 1], some of them at the ends."""
    return leaf((1.4 * torch.rand(shape) - 0.2).clamp(0, 1))


def arguments(rule, time):
    tokens = (BATCH, HEADS, time)
    given = streams(time) | {"k": unit(*tokens, D_K)}
    per_channel = rule not in ("comba", "gated_delta_product")
    given["log_decay"] = log_decays(time, *([D_K] if per_channel else []))
    if rule == "gated_delta_product":  # betas up to 2: negative eigenvalues
        steps = (*tokens, STEPS)
        return given | {
            "k": unit(*steps, D_K),
            "v": leaf(torch.randn(*steps, D_V)),
            "beta": leaf(2 * share(*steps).detach()),
        }
    return (
        given
        | {
            "kda": {"beta": share(*tokens)},
            "gated_delta_rule_2": {"erase": share(*tokens, D_K), "write": share(*tokens, D_V)},
            "comba": {"beta": share(*tokens), "p": leaf(0.7 * given["k"].detach())},
            "rwkv7": {"removed": unit(*tokens, D_K), "rate": share(*tokens, D_K)},
        }[rule]
    )
