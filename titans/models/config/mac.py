"""Memory as context: its readings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from titans.models.config.checks import at_least


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
