"""The section of a run's configuration that says how the model is trained. All of it decides the run's numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from titans_lab.run.decay import parse_decay
from titans_lab.run.schedule import LengthSchedule, parse_schedule


@dataclass(frozen=True)
class TrainConfig:
    """Training for a budget of tokens, with linear warm-up of the learning rate.

    Attributes:
        tokens: The budget of training tokens. The number of steps is tokens // (batch_size * seq_len).
        seq_len: The number of tokens in a training sequence.
        batch_size: The number of sequences in a step.
        schedule: The lengths of the training sequences, each with its share of the tokens: "128 25% then 256 25% then
            512 50%" trains on short sequences first, "128 or 256 or 512" on a mixture, a step on one of them. Without
            shares all are equal. A step always has batch_size * seq_len tokens: of shorter sequences it has more.
            Validation and test have sequences of `seq_len`. Null: all have.
        optimizer: The optimizer. "adamw" for all parameters; "muon" (torch.optim.Muon) for the weights of linear layers
            in the blocks, with updates scaled like AdamW's, and AdamW for the rest; "sgd" with momentum, whose weight
            decay is an L2 penalty.
        momentum: The momentum of Muon and SGD. AdamW does not read it.
        lr: The peak learning rate.
        lr_schedule: The learning rate after the warm-up. "cosine" and "linear" fall to the end, "wsd" (warm-up, stable,
            decay) stays at the peak and falls linearly over the last `decay_ratio` of the steps, "constant" stays.
        warmup_ratio: The share of the steps over which the learning rate rises from 0.
        decay_ratio: The share of the steps, at the end, over which "wsd" lowers the learning rate.
        min_lr_ratio: The final learning rate, as a share of the peak.
        weight_decay: The weight decay of matrices. Gains, biases and embeddings have none.
        decay_groups: The weight decay of parameters whose names match a pattern, such as "embedding.*=0.1
            *.memory.*=0". The first pattern that matches decides. Null: `weight_decay` decides for all.
        beta1: AdamW's decay of the gradient's mean.
        beta2: AdamW's decay of the gradient's square.
        max_grad_norm: The norm to which gradients are clipped. Null: no gradient is clipped.
        precision: The precision of training: "float32", or "bfloat16" for matrix products in bfloat16, with float32
            parameters and memory.
        ema: The decay of an exponential moving average of the weights, such as 0.999, which is evaluated and kept
            instead of the last weights. After n steps the decay is at most (1 + n) / (10 + n). Null: there is none.
        patience: The number of checks in succession without a better validation loss after which training ends early.
            Null: training takes the whole budget.
        patience_every: The number of steps between two of these checks.
        patience_bytes: The size of the part of the validation data that a check reads, as `log.valid_bytes`.
        patience_delta: The amount by which a loss has to be below the best one to be better.
    """

    tokens: int = 1_000_000
    seq_len: int = 256
    batch_size: int = 4
    schedule: str | None = field(default=None, metadata={"neutral": None})
    optimizer: Literal["adamw", "muon", "sgd"] = field(default="adamw", metadata={"neutral": "adamw"})
    momentum: float = field(default=0.95, metadata={"neutral": 0.95})
    lr: float = 6e-3
    lr_schedule: Literal["cosine", "linear", "wsd", "constant"] = field(
        default="cosine", metadata={"neutral": "cosine"}
    )
    warmup_ratio: float = 0.05
    decay_ratio: float = field(default=0.2, metadata={"neutral": 0.2})
    min_lr_ratio: float = 0.05
    weight_decay: float = 0.1
    decay_groups: str | None = field(default=None, metadata={"neutral": None})
    beta1: float = 0.9
    beta2: float = 0.95
    max_grad_norm: float | None = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    ema: float | None = field(default=None, metadata={"neutral": None})
    patience: int | None = field(default=None, metadata={"neutral": None})
    patience_every: int = field(default=100, metadata={"neutral": 100})
    patience_bytes: int = field(default=65_536, metadata={"neutral": 65_536})
    patience_delta: float = field(default=0.0, metadata={"neutral": 0.0})

    def __post_init__(self) -> None:
        for name in ("tokens", "seq_len", "batch_size", "patience", "patience_every"):
            if not (getattr(self, name) is None or getattr(self, name) >= 1):
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        for name in ("lr", "max_grad_norm"):
            if not (getattr(self, name) is None or getattr(self, name) > 0):
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0")
        for name in ("warmup_ratio", "min_lr_ratio", "decay_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not between 0 and 1")
        for name in ("beta1", "beta2", "momentum", "ema"):
            if not (getattr(self, name) is None or 0 <= getattr(self, name) < 1):
                raise ValueError(f"{name}: {getattr(self, name)} is not at least 0 and below 1")
        for name in ("weight_decay", "patience_delta"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is negative")
        if self.patience_bytes < 2:
            raise ValueError(f"patience_bytes: {self.patience_bytes} leaves nothing to predict")
        if self.steps < 1:
            raise ValueError(
                f"tokens: {self.tokens} is less than one step of {self.batch_size} x {self.seq_len} "
                "(batch_size x seq_len)"
            )
        self._check_rate()
        if self.decay_groups is not None:
            object.__setattr__(self, "decay_groups", self._spelled(self.decay_groups))
        if self.schedule is not None:
            self._check_schedule(self.schedule)

    def _check_rate(self) -> None:
        """Refuse a warm-up and a decay that overlap."""
        if self.lr_schedule == "wsd" and self.warmup_ratio + self.decay_ratio > 1:
            raise ValueError(
                f"decay_ratio: {self.decay_ratio} of the steps lower the rate that the first {self.warmup_ratio} "
                "(warmup_ratio) raise; lower one of them"
            )

    @staticmethod
    def _spelled(text: str) -> str:
        """Return groups of weight decay, spelled in one way."""
        try:
            return " ".join(map(str, parse_decay(text)))
        except ValueError as error:
            raise ValueError(f"decay_groups: {error}") from error

    def _check_schedule(self, text: str) -> None:
        """Refuse a schedule whose lengths do not fit a step, and spell it in one way; null if all have `seq_len`."""
        try:
            schedule = parse_schedule(text)
        except ValueError as error:
            raise ValueError(f"schedule: {error}") from error
        for length in schedule.lengths:
            if length > self.seq_len:
                raise ValueError(f"schedule: {length} is longer than seq_len ({self.seq_len}); raise seq_len")
            if self.step_tokens % length:
                raise ValueError(
                    f"schedule: {length} does not divide the {self.step_tokens} tokens of a step (batch_size x seq_len)"
                )
        object.__setattr__(self, "schedule", None if {*schedule.lengths} == {self.seq_len} else str(schedule))

    @property
    def step_tokens(self) -> int:
        """Return the number of tokens in a step."""
        return self.batch_size * self.seq_len

    @property
    def steps(self) -> int:
        """Return the number of optimiser steps in the budget."""
        return self.tokens // self.step_tokens

    @property
    def _schedule(self) -> LengthSchedule:
        return parse_schedule(self.schedule or str(self.seq_len))

    @property
    def lengths(self) -> dict[int, float]:
        """Return the lengths of training sequences, and the share of the tokens that is trained at each."""
        return self._schedule.weights()

    def length(self, step: int) -> int:
        """Return the length of the sequences of a step, counted from 0."""
        return self._schedule.length(step, self.steps)

    def at_length(self, length: int) -> TrainConfig:
        """Return the same training with sequences of one length, and as many tokens in a step."""
        return replace(self, seq_len=length, batch_size=self.step_tokens // length, schedule=None)
