"""Settings of the task `mqar`: multi-query associative recall (arXiv 2312.04927)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from titans_lab.study.tasks.settings import Measure, TaskSettings, check_vocabulary

if TYPE_CHECKING:
    from titans_lab.study.config import RunConfig


@dataclass(frozen=True)
class MqarSettings(TaskSettings):
    """Pairs of a key and a value, then the keys again in any order: recall each one's value (arXiv 2312.04927).

    A sequence has `train.length` tokens.

    Attributes:
        pairs: Of a sequence.
        vocabulary: Distinct tokens: the lower half are keys, the upper half values.
        gap_power: a of the power law a * gap^(a - 1) by which the places of the queries are drawn; 1 is uniform.
        filler: Random tokens stand between the queries; off, token 0 does.
        examples: Size of the training set, which is read over and over; null: every example is new.
        test_examples: Size of the test set.
    """

    LOSS: ClassVar[Measure] = Measure("loss", "nats per answer")
    METRIC: ClassVar[Measure] = Measure("accuracy", "share of answers", "higher")

    pairs: int = 8
    vocabulary: int = 8192
    gap_power: float = 0.01
    filler: bool = True
    examples: int | None = 100_000
    test_examples: int = 3000

    def __post_init__(self) -> None:
        for name in ("pairs", "test_examples", "examples"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        if self.vocabulary // 2 <= self.pairs:
            raise ValueError(f"vocabulary: half of {self.vocabulary} is too little for {self.pairs} different keys")
        if not self.gap_power > 0:
            raise ValueError(f"gap_power: {self.gap_power} is not above 0")

    def check(self, config: RunConfig) -> None:
        """Every pair has to fit twice, once with its value and once as a query with its answer."""
        check_vocabulary(config, self.vocabulary, "tokens of task.mqar.vocabulary")
        length = config.train.length
        if length % 2 or length < 4 * self.pairs:
            raise ValueError(
                f"train.length: {length} is no even number of at least {4 * self.pairs} tokens, which "
                f"{self.pairs} pairs and their queries take (task.mqar.pairs)"
            )
