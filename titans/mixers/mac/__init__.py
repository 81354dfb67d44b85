"""Memory as context (MAC): attention over the current segment and over what the memory recalls for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from titans.mixers.attention_cost import (
    ATTENTION_READS,
    attention_convolution,
    attention_parameters,
    attention_tail,
    prefix_products,
)
from titans.mixers.counts import squares
from titans.mixers.lmm import (
    READS,
    canonical_persistent,
    lmm_parameters,
    memory_products,
    memory_state,
    output_gate,
    persistent_products,
    projection,
    recall,
    torch_only,
    widths,
    writes_persistent,
)
from titans.mixers.spec import MixerSpec
from titans.models.config import ModelConfig
from titans.models.config.checks import at_least

WRITES_PERSISTENT = False  # the default of `persistent_written`: the paper writes only the segment


@dataclass(frozen=True)
class MacConfig:
    """Readings of memory as context on which the Titans paper's two editions and implementations differ.

    Attributes:
        write: What is written to the memory: the attention's "output" (the paper) or its "input" (titans-pytorch).
        order: "attend_first" (the paper): recall from the memory, attend, then write. "write_first": write the
            segment's input, then attend to what each token read after its own write.
        read: The weights that produce a token's output. "own": those after the token's own write. "start": those at the
            start of the segment. "end_leaks": those at the end of the segment, as the paper's formulas say; a token
            then sees later ones, so training refuses it.
        positions: Rotary positions of the recalled tokens h and the segment's tokens x. "shared" (this project):
            h_j has the position of x_j. "phs": positions in [persistent, h, x] (the arXiv v1). "psh": positions in
            [persistent, x, h] (the NeurIPS 2025 camera-ready).
        long_term_tokens: Number of learned queries that read the memory at the start of every segment; all tokens of
            the segment attend to what these queries read. The NeurIPS 2025 camera-ready names 256.
        reset: Whether every segment starts from the initial memory. The paper carries the memory on.
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
            raise ValueError("write: output is computed after the write when order is write_first; set write to input")
        if self.order == "write_first" and self.read != "own":
            raise ValueError(f"read: {self.read} has no meaning when order is write_first; set read to own")


def _parameters(config: ModelConfig) -> int:
    tokens, norms = config.settings_of(MacConfig).long_term_tokens, 3 if config.combine == "norm_sigmoid" else 1
    return lmm_parameters(config) + attention_parameters(config) + (norms + tokens) * config.dim


def _multiply_adds(config: ModelConfig, length: int, batch: int) -> int:
    dim, mac = config.dim, config.settings_of(MacConfig)
    seen_by_all = config.persistent_tokens + mac.long_term_tokens
    projections = 6 * dim**2 + 5 * attention_convolution(config)  # q, k, v and out of a token, k and v of its recall
    attention = length * (projections + 2 * seen_by_all * dim) + squares(length, config.segment_len) * 4 * dim
    starts = 1 + length // config.segment_len if mac.reset else 1
    total = batch * attention + memory_products(config, length, batch)
    total += prefix_products(config, config.persistent_tokens)
    total += batch * length * (projection(config) if mac.order == "write_first" else recall(config))
    if mac.read != "own" and mac.order != "write_first":  # a second read, of other weights
        total += batch * length * recall(config)
    if mac.long_term_tokens:
        segments = -(-length // config.segment_len)
        total += segments * mac.long_term_tokens * _long_term_products(config, batch)
    return total + (persistent_products(config) * starts if writes_persistent(config, WRITES_PERSISTENT) else 0)


def _long_term_products(config: ModelConfig, batch: int) -> int:
    """Return the multiply-adds of one long-term token in one segment.

    Its query and gate are computed once for the whole batch, what it reads for each sequence.
    """
    dim, matrices = config.dim, sum(d_out * d_in for d_out, d_in in widths(config))
    once = projection(config) + output_gate(config)
    return once + batch * (config.n_heads * matrices + dim**2 + prefix_products(config, 1))


def _state_size(config: ModelConfig, length: int) -> int:
    """Return the numbers in a stream.

    These are the memory now and at the start of the segment, the tail of the recall's convolution, the keys and values
    of the segment and of its recall, and the tails of attention's convolutions over both.
    """
    inside, tail = length % config.segment_len, (config.conv_size - 1) * config.dim
    before = memory_state(config) - 3 * tail if inside else 0
    seen = 4 * inside * config.dim + (5 * attention_tail(config) if inside else 0)
    return memory_state(config) + before + tail + seen


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
    torch_only=torch_only,
    reads=READS | ATTENTION_READS | {"persistent_written", "combine", "segment_len"},
    head_multiple=2,
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
