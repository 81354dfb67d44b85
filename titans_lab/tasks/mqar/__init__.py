"""Settings of the task `mqar`: multi-query associative recall (arXiv 2312.04927)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from titans.models.config import ModelConfig
from titans_lab.study.metric import Metric
from titans_lab.study.sections import DataConfig, TrainConfig
from titans_lab.tasks.settings import TaskSettings, check_examples, check_vocabulary

#: zoology's examples/mqar_example_configs/original_mqar_configs.py: length, pairs and number of examples.
SUITE_TRAINING = ((64, 4, 100_000), (128, 8, 20_000), (256, 16, 20_000), (256, 32, 20_000), (256, 64, 20_000))
SUITE_TESTS = (
    (64, 4, 1000), (64, 8, 1000), (64, 16, 1000), (128, 32, 1000), (256, 64, 1000), (512, 128, 1000), (1024, 256, 1000),
)  # fmt: skip
SUITE_LENGTH = 256


@dataclass(frozen=True)
class MqarSettings(TaskSettings):
    """Pairs of a key and a value, then the keys again in any order: recall each one's value (arXiv 2312.04927).

    A sequence has `train.seq_len` tokens, unless it is of the suite.

    Attributes:
        pairs: Of a sequence.
        vocabulary: Distinct tokens: the lower half are keys, the upper half values.
        gap_power: a of the power law a * gap^(a - 1) by which the places of the queries are drawn; 1 is uniform.
        filler: Random tokens stand between the queries; off, token 0 does.
        examples: Size of the training set, which is read over and over; null: every example is new.
        test_examples: Size of the test set.
        suite: zoology's training mixture, from 4 pairs in 64 tokens to 64 in 256, and its test grid, up to 256 pairs in
            1,024; `pairs`, `examples` and `test_examples` are not used then. `train.seq_len` is 256; of shorter
            examples a step has as many more, so that its tokens are the same.
    """

    NAME: ClassVar[str] = "mqar"
    TASK: ClassVar[str] = "titans_lab.tasks.mqar.task:MqarTask"
    LOSS: ClassVar[Metric] = Metric("loss", "nats per answer", column="loss")
    METRIC: ClassVar[Metric] = Metric("accuracy", "share of answers", "maximize", column="score")

    pairs: int = 8
    vocabulary: int = 8192
    gap_power: float = 0.01
    filler: bool = True
    examples: int | None = 100_000
    test_examples: int = 3000
    suite: bool = False

    def __post_init__(self) -> None:
        for name in ("pairs", "test_examples", "examples"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        if self.vocabulary // 2 <= self.most_pairs:
            raise ValueError(
                f"vocabulary: half of {self.vocabulary} is too little for {self.most_pairs} different keys"
            )
        if not self.gap_power > 0:
            raise ValueError(f"gap_power: {self.gap_power} is not above 0")

    @property
    def most_pairs(self) -> int:
        """Of any sequence."""
        return max(pairs for _, pairs, _ in SUITE_TESTS) if self.suite else self.pairs

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Every pair has to fit twice, once with its value and once as a query with its answer."""
        check_vocabulary(model, self.vocabulary, "tokens of task.mqar.vocabulary")
        if self.suite:
            self._check_suite(train.seq_len)
        else:
            check_examples(train, "mqar", self.examples)
            self._check_length(train.seq_len)

    def _check_suite(self, length: int) -> None:
        if length != SUITE_LENGTH:
            raise ValueError(f"train.seq_len: {length} is not {SUITE_LENGTH}, as task.mqar.suite needs it")

    def _check_length(self, length: int) -> None:
        if length % 2 or length < 4 * self.pairs:
            raise ValueError(
                f"train.seq_len: {length} is no even number of at least {4 * self.pairs} tokens, which "
                f"{self.pairs} pairs and their queries take (task.mqar.pairs)"
            )
