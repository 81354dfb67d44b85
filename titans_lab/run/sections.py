"""The sections of a run's configuration that all tasks share: data, training, logging and speed.

`LogConfig`, `SpeedConfig` and the fields marked `identity: False` change where or how a run is executed. Everything
else decides its numbers, and so its id.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from titans_lab.run.schedule import LengthSchedule, parse_schedule

PROFILE_AFTER = 6  # steps: the first ones include the warm-up of libraries
OUTSIDE = {"identity": False}  # field metadata: changes where or how a run is executed, not its numbers


def expand_paths(section: object, names: Iterable[str]) -> None:
    """Replace a `~` at the beginning of a section's paths by the user's home.

    Raises:
        ValueError: A path is empty, for example because a shell variable is not set.
    """
    for name in names:
        path = getattr(section, name)
        if path is not None and not path.strip():
            raise ValueError(f"{name}: is empty; name a file or a folder, or write null")
        if path is not None and path.startswith("~"):
            object.__setattr__(section, name, os.path.expanduser(path))  # noqa: PTH111 Path's raises at some names


@dataclass(frozen=True)
class DataConfig:
    """The data of a run: a text, or the files that another task reads.

    Attributes:
        path: The training data. For `text` a text file, plain or compressed, which is read as bytes, or a folder of
            `titans-lab data prepare`, which has a tokenizer and a split. For `series` a CSV file, for `dna` a FASTA
            file, for `genome` the training sequences as CSV or TSV. Null: the source of Python's standard library. A
            run's identity has the hash of the content instead of the path.
        valid_path: The validation file of `genome`, like `path`.
        test_path: The test file of `genome`, like `path`.
        valid_fraction: The share of the bytes, at the end, that is held out, the first half for validation and the
            second for the test. A prepared folder has its own split. For `genome` it is a share of the sequences.
        valid_bytes: The number of bytes of each half, from its start, to use. Null: all.
    """

    path: str | None = field(default=None, metadata=OUTSIDE)
    valid_path: str | None = field(default=None, metadata=OUTSIDE)
    test_path: str | None = field(default=None, metadata=OUTSIDE)
    valid_fraction: float = 0.05
    valid_bytes: int | None = None

    def __post_init__(self) -> None:
        expand_paths(self, ("path", "valid_path", "test_path"))
        if not 0 < self.valid_fraction < 1:
            raise ValueError(f"valid_fraction: {self.valid_fraction} is not between 0 and 1")
        if self.valid_bytes is not None and self.valid_bytes < 2:
            raise ValueError(f"valid_bytes: {self.valid_bytes} leaves nothing to predict")


@dataclass(frozen=True)
class TrainConfig:
    """Training with AdamW, linear warm-up and cosine decay, for a budget of tokens.

    Attributes:
        tokens: The budget of training tokens. The number of steps is tokens // (batch_size * seq_len).
        seq_len: The number of tokens in a training sequence.
        batch_size: The number of sequences in a step.
        schedule: The lengths of the training sequences, each with its share of the tokens: "128 25% then 256 25% then
            512 50%" trains on short sequences first, "128 or 256 or 512" on a mixture, a step on one of them. Without
            shares all are equal. A step always has batch_size * seq_len tokens: of shorter sequences it has more.
            Validation and test have sequences of `seq_len`. Null: all have.
        lr: The peak learning rate.
        warmup_ratio: The share of the steps over which the learning rate rises from 0.
        min_lr_ratio: The final learning rate, as a share of the peak.
        weight_decay: The weight decay of matrices. Gains, biases and embeddings have none.
        beta1: AdamW's decay of the gradient's mean.
        beta2: AdamW's decay of the gradient's square.
        max_grad_norm: The norm to which gradients are clipped. Null: no gradient is clipped.
        precision: The precision of training: "float32", or "bfloat16" for matrix products in bfloat16, with float32
            parameters and memory.
    """

    tokens: int = 1_000_000
    seq_len: int = 256
    batch_size: int = 4
    schedule: str | None = field(default=None, metadata={"neutral": None})
    lr: float = 6e-3
    warmup_ratio: float = 0.05
    min_lr_ratio: float = 0.05
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    max_grad_norm: float | None = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("tokens", "seq_len", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        for name in ("lr", "max_grad_norm"):
            if not (getattr(self, name) is None or getattr(self, name) > 0):
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0")
        for name in ("warmup_ratio", "min_lr_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not between 0 and 1")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is not at least 0 and below 1")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay: {self.weight_decay} is negative")
        if self.steps < 1:
            raise ValueError(
                f"tokens: {self.tokens} is less than one step of {self.batch_size} x {self.seq_len} "
                "(batch_size x seq_len)"
            )
        if self.schedule is not None:
            self._check_schedule(self.schedule)

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


@dataclass(frozen=True)
class LogConfig:
    """Logging: how often a run writes. It is not part of the run's identity.

    Attributes:
        every: The number of steps between two lines of metrics.
        valid_every: The number of steps between two validations on a part of the validation data. 0: only the final
            one, on all of it.
        valid_bytes: The size of that part, in bytes of text, or in tokens for other tasks.
        memory_every: The number of steps between two memory diagnostics, which the view `memory` shows, besides those
            at the end. 0: none. They count in the peak memory, not in the throughput.
        memory_tokens: The number of validation tokens for a memory diagnostic: whole windows of `train.seq_len`, at
            most `train.batch_size` of them, or one shorter window.
        weights: Whether to keep the trained model, 4 bytes per parameter, for `titans-lab eval`.
        checkpoint_seconds: The seconds between two checkpoints, from which an interrupted run resumes, and at least 20
            times the seconds that one takes. A checkpoint takes 12 bytes per parameter, and the last two are kept until
            the run is finished. Null: only where a run is asked to stop.
    """

    every: int = 10
    valid_every: int = 0
    valid_bytes: int = 65_536
    memory_every: int = 0
    memory_tokens: int = 1024
    weights: bool = True
    checkpoint_seconds: float | None = 60.0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every: {self.every} is below 1")
        for name in ("valid_every", "memory_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} is negative")
        if self.valid_bytes < 2:
            raise ValueError(f"valid_bytes: {self.valid_bytes} leaves nothing to predict")
        if self.memory_tokens < 1:
            raise ValueError(f"memory_tokens: {self.memory_tokens} is below 1")
        if self.checkpoint_seconds is not None and not self.checkpoint_seconds >= 0:
            raise ValueError(f"checkpoint_seconds: {self.checkpoint_seconds} is negative")


@dataclass(frozen=True)
class SpeedConfig:
    """Execution: kernels and memory. It changes a run's numbers by rounding only, and is not part of its identity.

    Attributes:
        kernel: The kernel of the memory. "cpu" is fused for processors; the machine's C compiler builds it in a second
            or two. "torch" is torch's own operations, in the rest of the model too. "compiled" compiles the memory's
            for each shape, in some 20 seconds. "triton" needs a GPU. "auto" is "cpu" on a CPU with a C compiler, else
            "torch". "fla" uses flash-linear-attention on a GPU, for the other linear recurrences.
        recompute: Whether to recompute each block in the backward pass instead of keeping its activations.
        micro_batch: The number of examples in a forward pass on a device, whose gradients are accumulated over the
            batch. Null: all of the device's examples. If memory runs out, it is halved, down to 1.
        devices: The number of devices that train the run together, each on its part of every batch. The batches are
            those of one device.
        shard: Whether the devices share parameters, gradients and optimizer state (FSDP2), for models that do not fit
            on each of them (DDP). It has no effect on one device.
        profile: The number of steps to profile, after the first few, into trace.json.gz and profile.txt in the
            attempt's folder. 0: none.
    """

    kernel: Literal["auto", "torch", "compiled", "cpu", "triton", "fla"] = "auto"
    recompute: bool = False
    micro_batch: int | None = None
    devices: int = 1
    shard: bool = False
    profile: int = 0

    def __post_init__(self) -> None:
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"micro_batch: {self.micro_batch} is below 1")
        if self.devices < 1:
            raise ValueError(f"devices: {self.devices} is below 1")
        if self.profile < 0:
            raise ValueError(f"profile: {self.profile} is negative")
