"""Settings of the task `text`: language modelling on bytes. Its data are the section `data`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from titans_lab.study.metric import Metric
from titans_lab.study.tasks.settings import TaskSettings, check_bytes

if TYPE_CHECKING:
    from titans_lab.study.config import RunConfig

BITS_PER_BYTE = Metric("loss", "bits per byte", column="loss")


@dataclass(frozen=True)
class TextSettings(TaskSettings):
    """Bytes of a text; nothing to set."""

    READS: ClassVar[frozenset[str]] = frozenset({"path", "valid_fraction", "valid_bytes"})
    FASTA: ClassVar[bool] = False  # whether the bytes are the bases of a FASTA file
    SYMBOL: ClassVar[str] = "byte"  # what the text is read in, and the loss is per
    ORDERS: ClassVar[tuple[int, ...]] = (0, 1, 3)  # symbols of context of the n-gram models beside it
    LOSS: ClassVar[Metric] = BITS_PER_BYTE
    METRIC: ClassVar[Metric] = BITS_PER_BYTE

    def check(self, config: RunConfig) -> None:
        """A token for each value of a byte."""
        check_bytes(config)
