"""The sections of a run's configuration that every task has: its data, its training, its logging and its speed.

`LogConfig`, `SpeedConfig` and the fields marked `identity: False` change where or how a run happens. All else decides
its numbers, and so its id.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

PROFILE_AFTER = 6  # steps: the first ones pay for what all need
OUTSIDE = {"identity": False}  # field metadata: changes where or how a run happens, not its numbers


def expand_paths(section: object, names: Iterable[str]) -> None:
    """Put the user's home in the place of a `~` that a path of a section begins with.

    Raises:
        ValueError: A path is empty, as where a variable of the shell is not set.
    """
    for name in names:
        path = getattr(section, name)
        if path is not None and not path.strip():
            raise ValueError(f"{name}: is empty; name a file or a folder, or write null")
        if path is not None and path.startswith("~"):
            object.__setattr__(section, name, os.path.expanduser(path))  # noqa: PTH111 Path's raises at some names


@dataclass(frozen=True)
class DataConfig:
    """The text, or what another task reads.

    Attributes:
        path: A text file, plain or gzip, read as bytes; a folder that `titans-lab data prepare` made, with a tokenizer
            and a split of its own; null: the source of Python's own standard library.
            The content's hash, and the tokenizer's, stand for it in a run's identity. For `series` a CSV file, for
            `dna` a FASTA file, for `genome` the sequences to train on, as CSV or TSV.
        valid_path: For `genome`: a file to validate on, like `path`.
        test_path: For `genome`: a file to test on, like `path`.
        valid_fraction: Share of the bytes, at the end, held out for validation; not for a prepared folder; for
            `genome` see there.
        valid_bytes: Validate on at most so many of them, from their start; null: on all.
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
    """AdamW with warm-up and cosine decay (N25's recipe), for a budget of tokens.

    Attributes:
        tokens: Budget; steps = tokens // (batch * length).
        seq_len: Tokens of a training sequence.
        batch_size: Sequences a step.
        lr: Peak learning rate.
        warmup_ratio: Share of the steps over which the rate rises from 0.
        min_lr_ratio: Rate at the end, as a share of the peak.
        weight_decay: On matrices; not on gains, biases and embeddings.
        beta1: AdamW's decay of the gradient's mean.
        beta2: AdamW's decay of its square.
        max_grad_norm: Largest norm of the gradient.
        precision: "float32", or "bfloat16" products with float32 parameters and memory.
    """

    tokens: int = 1_000_000
    seq_len: int = 256
    batch_size: int = 4
    lr: float = 6e-3
    warmup_ratio: float = 0.05
    min_lr_ratio: float = 0.05
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    max_grad_norm: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("tokens", "seq_len", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")
        for name in ("lr", "max_grad_norm"):
            if not getattr(self, name) > 0:
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

    @property
    def steps(self) -> int:
        """Optimiser steps that the budget pays for."""
        return self.tokens // (self.batch_size * self.seq_len)


@dataclass(frozen=True)
class LogConfig:
    """How often a run writes; no part of its identity.

    Attributes:
        every: Steps between two lines of metrics.
        valid_every: Steps between two validations on a part; 0: none before the final one on the whole.
        valid_bytes: Bytes of that part; tokens, for a task that is no text.
        memory_every: Steps between two looks into the memories, and one at the end, for the view `memory`; 0: none.
            They take time and count in the peak memory, not in the throughput.
        memory_tokens: Read at a look, from the start of the validation data: whole windows of `train.seq_len`, at most
            `train.batch_size` of them, or one that is shorter.
        weights: Keep the model that a run ends with, 4 bytes a parameter, so that `titans-lab eval` can load it.
        checkpoint_seconds: Between two checkpoints, from which a run that was interrupted goes on, and at least 20
            times what one takes; null: none but where a run is asked to stop. They take 12 bytes a parameter, the last
            two are kept, and none when the run is finished.
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
    """How a run is executed: its numbers stay what they are, but for rounding, so this is no part of its identity.

    Attributes:
        kernel: Of the memory: "torch"; "compiled", by torch in some 20 seconds, which it keeps for later runs, and then
            faster, most so for wide or deep memories; "triton", on a GPU; "auto" is "torch", and on a CPU "compiled"
            for a training of at least 2e13 FLOPs, where there is a C++ compiler. Of its rivals: "fla", that is
            flash-linear-attention's, on a GPU.
        recompute: Go through each block once more in the backward pass instead of keeping what is in it.
        micro_batch: Examples of `train.batch_size` that are in memory at a time, their gradients added up; null: all.
            Where memory runs out it is halved, down to 1.
        profile: Steps to profile, after the first few: trace.json.gz and profile.txt in the attempt's folder; 0: none.
    """

    kernel: Literal["auto", "torch", "compiled", "triton", "fla"] = "auto"
    recompute: bool = False
    micro_batch: int | None = None
    profile: int = 0

    def __post_init__(self) -> None:
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"micro_batch: {self.micro_batch} is below 1")
        if self.profile < 0:
            raise ValueError(f"profile: {self.profile} is negative")
