"""Settings of the task `mqar`: multi-query associative recall (arXiv 2312.04927)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from titans.models.config import ModelConfig
from titans_lab.run.metric import Metric
from titans_lab.run.sections import DataConfig, TrainConfig
from titans_lab.tasks.settings import TaskSettings, check_examples, check_vocabulary

#: zoology's examples/mqar_example_configs/original_mqar_configs.py: length, pairs and number of examples.
SUITE_TRAINING = ((64, 4, 100_000), (128, 8, 20_000), (256, 16, 20_000), (256, 32, 20_000), (256, 64, 20_000))
SUITE_TESTS = (
    (64, 4, 1000), (64, 8, 1000), (64, 16, 1000), (128, 32, 1000), (256, 64, 1000), (512, 128, 1000), (1024, 256, 1000),
)  # fmt: skip
SUITE_LENGTH = 256


@dataclass(frozen=True)
class MqarSettings(TaskSettings):
    """Multi-query associative recall: pairs of a key and a value, then the keys in any order (arXiv 2312.04927).

    The model must recall the value of each repeated key. A sequence has `train.seq_len` tokens, except in the suite.

    Attributes:
        pairs: The number of pairs in a sequence.
        vocabulary: The number of distinct tokens. The lower half is keys, the upper half values.
        gap_power: The exponent a of the power law a * gap^(a - 1) that draws the positions of queries. 1 is uniform.
        filler: Whether random tokens stand between queries, instead of token 0.
        examples: The size of the training set, which is read repeatedly. Null: every example is new.
        test_examples: The size of the test set, and of the validation set.
        suite: Whether to use zoology's training mixture, from 4 pairs in 64 tokens to 64 in 256, and its test grid, up
            to 256 pairs in 1,024. `pairs`, `examples` and `test_examples` are not read then, and `train.seq_len` is
            256. A step of shorter examples has more of them, so that its number of tokens is the same.
    """

    NAME: ClassVar[str] = "mqar"
    TASK: ClassVar[str] = "titans_lab.tasks.mqar.task:MqarTask"
    VERSION: ClassVar[int] = 2  # 2: figures during training are of a separate validation set
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
        """Return the largest number of pairs in a sequence."""
        return max(pairs for _, pairs, _ in SUITE_TESTS) if self.suite else self.pairs

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse sections in which not every pair fits twice: with its value, and as a query with its answer."""
        check_vocabulary(model, self.vocabulary, "tokens of task.mqar.vocabulary")
        if self.suite:
            if train.seq_len != SUITE_LENGTH:
                raise ValueError(f"train.seq_len: {train.seq_len} is not {SUITE_LENGTH}, as task.mqar.suite needs it")
        else:
            check_examples(train, "mqar", self.examples)
            self._check_length(train.seq_len)

    def _check_length(self, length: int) -> None:
        if length % 2 or length < 4 * self.pairs:
            raise ValueError(
                f"train.seq_len: {length} is not an even number of at least {4 * self.pairs} tokens, which "
                f"{self.pairs} pairs and their queries take (task.mqar.pairs)"
            )
