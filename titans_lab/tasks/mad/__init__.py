"""Settings of the six tasks of MAD (arXiv 2403.17844), as its code has them (github.com/athms/mad-lab)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from titans.models.config import ModelConfig
from titans_lab.run.metric import Metric
from titans_lab.run.sections import DataConfig, TrainConfig
from titans_lab.tasks.settings import Ends, TaskSettings, check_examples, check_vocabulary


@dataclass(frozen=True)
class MadSettings(TaskSettings):
    """The common settings of the six tasks. Sequences have `train.seq_len` tokens.

    Attributes:
        vocabulary: The number of distinct tokens, special ones included.
        examples: The size of the training set.
        test_examples: The size of the test set, and of the validation set.
    """

    VERSION: ClassVar[int] = 2  # 2: figures during training are of a separate validation set
    LOSS: ClassVar[Metric] = Metric("loss", "nats per answer", column="loss")
    METRIC: ClassVar[Metric] = Metric("accuracy", "share of answers", "maximize", column="score")

    vocabulary: int = 16
    examples: int = 12_800
    test_examples: int = 1280

    def __post_init__(self) -> None:
        for name in ("examples", "test_examples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        if self.vocabulary < self.least_vocabulary:
            raise ValueError(f"vocabulary: {self.vocabulary} is below the {self.least_vocabulary} that the task needs")

    @property
    @abstractmethod
    def least_vocabulary(self) -> int:
        """Return the least vocabulary with which the task has questions."""

    @property
    @abstractmethod
    def least_length(self) -> int:
        """Return the length of the shortest sequence with a question."""

    @property
    def even(self) -> bool:
        """Return whether sequences are made of pairs of tokens."""
        return False

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse a vocabulary, a training set or a sequence length that is too small."""
        check_vocabulary(model, self.vocabulary, f"tokens of task.{self.NAME}.vocabulary")
        check_examples(train, self.NAME, self.examples)
        length = train.seq_len
        if length < self.least_length or (self.even and length % 2):
            kind = "an even number of at least" if self.even else "at least"
            raise ValueError(f"train.seq_len: {length} is not {kind} {self.least_length}, as task {self.NAME} needs it")


@dataclass(frozen=True)
class RecallSettings(MadSettings):
    """In-context recall: pairs of a key and a value, and the values of repeated keys are asked for.

    A key has one value within a sequence. Half of the vocabulary is keys, half is values.
    """

    NAME: ClassVar[str] = "in_context_recall"
    TASK: ClassVar[str] = "titans_lab.tasks.mad.in_context_recall:InContextRecallTask"

    @property
    def noise_tokens(self) -> int:
        """Return the number of tokens in the vocabulary that are noise."""
        return 0

    @property
    def noise_share(self) -> float:
        """Return the probability that a pair is noise."""
        return 0.0

    @property
    def least_vocabulary(self) -> int:
        """Return the tokens for one key and one value."""
        return 2 + self.noise_tokens

    @property
    def least_length(self) -> int:
        """Return the length of a pair and its repetition."""
        return 4

    @property
    def even(self) -> bool:
        """Return true, because sequences consist of pairs."""
        return True


@dataclass(frozen=True)
class NoisyRecallSettings(RecallSettings):
    """Noisy in-context recall: some pairs are tokens of a separate noise vocabulary, to be ignored.

    Attributes:
        noise_vocabulary: The number of tokens in the vocabulary that are noise.
        noise: The probability that a pair is noise.
    """

    NAME: ClassVar[str] = "noisy_in_context_recall"
    TASK: ClassVar[str] = "titans_lab.tasks.mad.in_context_recall:InContextRecallTask"

    vocabulary: int = 32
    noise_vocabulary: int = 16
    noise: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_vocabulary < 1:
            raise ValueError(f"noise_vocabulary: {self.noise_vocabulary} is below 1")
        if not 0 <= self.noise < 1:
            raise ValueError(f"noise: {self.noise} is not at least 0 and below 1")

    @property
    def noise_tokens(self) -> int:
        """Return the value that is set."""
        return self.noise_vocabulary

    @property
    def noise_share(self) -> float:
        """Return the value that is set."""
        return self.noise


@dataclass(frozen=True)
class FuzzyRecallSettings(MadSettings):
    """Fuzzy in-context recall: keys and values have several adjacent tokens. Test keys have the most.

    Attributes:
        key_tokens: The largest number of tokens in a key.
        value_tokens: The largest number of tokens in a value.
    """

    NAME: ClassVar[str] = "fuzzy_in_context_recall"
    TASK: ClassVar[str] = "titans_lab.tasks.mad.fuzzy_in_context_recall:FuzzyInContextRecallTask"

    key_tokens: int = 3
    value_tokens: int = 3

    def __post_init__(self) -> None:
        for name in ("key_tokens", "value_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        super().__post_init__()

    @property
    def least_vocabulary(self) -> int:
        """Return the tokens for a longest key and value without repetition, and padding."""
        return 2 * max(self.key_tokens, self.value_tokens) + 1

    @property
    def least_length(self) -> int:
        """Return the length of a longest pair, the question for it, and one more token."""
        return 2 * (self.key_tokens + self.value_tokens) + 1


@dataclass(frozen=True)
class SelectiveCopyingSettings(MadSettings):
    """Selective copying: tokens scattered among blanks, to be repeated in order at the end.

    Attributes:
        copied: The number of tokens to copy.
    """

    NAME: ClassVar[str] = "selective_copying"
    TASK: ClassVar[str] = "titans_lab.tasks.mad.selective_copying:SelectiveCopyingTask"

    copied: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.copied < 1:
            raise ValueError(f"copied: {self.copied} is below 1")

    @property
    def least_vocabulary(self) -> int:
        """Return the tokens for two values, a blank and the copy sign."""
        return 4

    @property
    def least_length(self) -> int:
        """Return the length of the tokens, a blank, the copy sign, and the copy."""
        return 2 * self.copied + 2


@dataclass(frozen=True)
class MemorizationSettings(MadSettings):
    """Memorization: each key has one value, the same in every sequence, which must be learned in training."""

    NAME: ClassVar[str] = "memorization"
    TASK: ClassVar[str] = "titans_lab.tasks.mad.memorization:MemorizationTask"

    vocabulary: int = 256
    examples: int = 256

    @property
    def least_vocabulary(self) -> int:
        """Return the tokens for one key, two values and the question sign."""
        return 4

    @property
    def least_length(self) -> int:
        """Return the length of a key and the question sign."""
        return 2

    @property
    def even(self) -> bool:
        """Return true, because keys and signs alternate."""
        return True


@dataclass(frozen=True)
class CompressionSettings(MadSettings):
    """Compression: an autoencoder must restore the whole sequence from the output at the last token."""

    NAME: ClassVar[str] = "compression"
    TASK: ClassVar[str] = "titans_lab.tasks.mad.compression:CompressionTask"

    @property
    def least_vocabulary(self) -> int:
        """Return the tokens for two values and the last token."""
        return 3

    @property
    def least_length(self) -> int:
        """Return the length of one token and the last one."""
        return 2

    def ends(self, model: ModelConfig, length: int) -> Ends:
        """Return the cost of `titans.models.autoencoder.AutoEncoder`, whose embedding and output are never tied."""
        dim, vocabulary = model.dim, model.vocab_size
        decoder = 2 * (dim * dim + 2 * dim) + dim + vocabulary
        return Ends(2 * vocabulary * dim + dim + decoder, 2 * dim * dim + vocabulary * dim)
