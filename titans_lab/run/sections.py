"""The sections of a run's configuration that all tasks share: data, logging and speed. Training is in `train.py`.

`LogConfig`, `SpeedConfig` and the fields marked `identity: False` change where or how a run is executed. Everything
else decides its numbers, and so its id.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from titans_lab.run.train import TrainConfig

__all__ = ["OUTSIDE", "PROFILE_AFTER", "DataConfig", "LogConfig", "SpeedConfig", "TrainConfig", "expand_paths"]

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
        weights: Whether to keep the trained model, 4 bytes per parameter, for `titans-lab eval` and for runs that begin
            with its weights.
        keep_state: Whether to keep the state of the training, too, 8 bytes per parameter, for runs that go on with it
            (`init.weights_only: false`).
        checkpoint_seconds: The seconds between two checkpoints, from which an interrupted run resumes, and at least 20
            times the seconds that one takes. With AdamW a checkpoint takes 12 bytes per parameter, and the last two are
            kept until the run is finished. Null: only where a run is asked to stop.
        noise_scale: Whether to estimate the gradient noise scale from the gradients of the first micro-batch and of the
            batch of each step. `speed.micro_batch` has to be half of the batch or less.
    """

    every: int = 10
    valid_every: int = 0
    valid_bytes: int = 65_536
    memory_every: int = 0
    memory_tokens: int = 1024
    weights: bool = True
    keep_state: bool = False
    checkpoint_seconds: float | None = 60.0
    noise_scale: bool = False

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
        if self.keep_state and not self.weights:
            raise ValueError("keep_state: is of no use without the weights; set log.weights to true")
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
