"""Memory as context (MAC): attention over what the memory recalls and the segment at hand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from titans.mixers.attention_cost import attention_parameters
from titans.mixers.counts import squares
from titans.mixers.lmm import (
    READS,
    begin_products,
    canonical_persistent,
    lmm_parameters,
    memory_products,
    memory_state,
    output_gate,
    projection,
    recall,
    widths,
    writes_persistent,
)
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig
from titans.models.config.checks import at_least

WRITES_PERSISTENT = False  # where `persistent_written` is null


@dataclass(frozen=True)
class MacConfig:
    """Readings of memory as context on which sources and implementations differ.

    Attributes:
        write: What is written: attention's "output" (the papers) or its "input" (titans-pytorch).
        order: Recall, attend, then write ("attend_first", the papers), or write the segment's input first and let
            attention see what was read after each token's own write ("write_first").
        read: Weights behind the segment's output: after each token's "own" write, those of the segment's "start", or of
            its end, the papers' letter, by which a token sees later ones: "end_leaks", refused in training.
        positions: Rotary places: h_j where x_j stands ("shared", ours), or those of the concatenation
            [persistent, h, x] ("phs", V1) or [persistent, x, h] ("psh", N25).
        long_term_tokens: Learned queries, read from the memory for every segment and seen by all of it. N25: 256.
        reset: Every segment starts from the initial memory; the papers carry it on.
    """

    write: Literal["output", "input"] = field(default="output", metadata={"neutral": "output"})
    order: Literal["attend_first", "write_first"] = field(default="attend_first", metadata={"neutral": "attend_first"})
    read: Literal["own", "start", "end_leaks"] = field(default="own", metadata={"neutral": "own"})
    positions: Literal["shared", "phs", "psh"] = field(default="shared", metadata={"neutral": "shared"})
    long_term_tokens: int = field(default=0, metadata={"neutral": 0})
    reset: bool = field(default=False, metadata={"neutral": False})

    def __post_init__(self) -> None:
        at_least(self, 0, "long_term_tokens")
        if self.order == "write_first" and self.write == "output":
            raise ValueError("write: output is not there yet when order is write_first; set it to input")
        if self.order == "write_first" and self.read != "own":
            raise ValueError(f"read: {self.read} says nothing when order is write_first; leave it at own")


def _parameters(config: ModelConfig) -> int:
    tokens, norms = config.settings_of(MacConfig).long_term_tokens, 3 if config.combine == "norm_sigmoid" else 1
    return lmm_parameters(config) + attention_parameters(config) + (norms + tokens) * config.dim


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    dim, mac = config.dim, config.settings_of(MacConfig)
    seen_by_all = config.persistent_tokens + mac.long_term_tokens
    attention = length * (6 * dim**2 + 2 * seen_by_all * dim) + squares(length, config.segment_len) * 4 * dim
    starts = 1 + length // config.segment_len if mac.reset else 1
    total = batch * attention + config.persistent_tokens * 2 * dim**2 + memory_products(config, length, batch)
    total += batch * length * (projection(config) if mac.order == "write_first" else recall(config))
    if mac.read != "own" and mac.order != "write_first":  # the output is read a second time, not after its own write
        total += batch * length * recall(config)
    if mac.long_term_tokens:
        segments = -(-length // config.segment_len)
        total += segments * mac.long_term_tokens * _long_term_products(config, batch)
    return total + (begin_products(config) * starts if writes_persistent(config, WRITES_PERSISTENT) else 0)


def _long_term_products(config: ModelConfig, batch: int) -> int:
    """Of one segment and token: the query and its gate are the same for the whole batch, what it reads is not."""
    dim, matrices = config.dim, sum(d_out * d_in for d_out, d_in in widths(config))
    once, each = projection(config) + output_gate(config), config.n_heads * matrices + dim**2 + 2 * dim**2
    return once + batch * each


def _state_size(config: ModelConfig, length: int) -> int:
    """The memory's, now and before the segment, the recall's tail, keys and values of the segment and of its recall."""
    inside, tail = length % config.segment_len, (config.conv_size - 1) * config.dim
    before = memory_state(config) - 3 * tail if inside else 0
    return memory_state(config) + before + tail + 4 * inside * config.dim


def _check(config: ModelConfig) -> None:
    for name in ("chunk_size", "eval_chunk_size"):
        chunk = getattr(config.memory, name)
        if chunk is not None and config.segment_len % chunk:
            raise ValueError(
                f"segment_len: {config.segment_len} is not a multiple of memory.{name} ({chunk}); "
                "MAC writes a segment in whole chunks"
            )


MIXER = MixerSpec(
    name="mac",
    family="Titans",
    summary="memory as context: each segment attends to what the memory recalls for it, then its output is written",
    source="Titans (arXiv 2501.00663), section 4.1",
    layer="titans.mixers.mac.layer:MemoryAsContext",
    state="titans.mixers.mac.layer:ContextStream",
    reads=READS | {"persistent_written", "combine", "segment_len"},
    settings=MacConfig,
    check=_check,
    canonical=lambda config, values: canonical_persistent(config, values, WRITES_PERSISTENT),
    leaks=lambda config: "mac.read" if config.settings_of(MacConfig).read == "end_leaks" else None,
    reduced=lambda mac: dataclasses.replace(mac, long_term_tokens=min(mac.long_term_tokens, 3)),
    reference="titans.mixers.lmm.layer:write_token_by_token",
    parameters=_parameters,
    multiply_adds=_multiply_adds,
    state_size=_state_size,
    golden_loss=6.403101,
)
