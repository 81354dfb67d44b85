"""What a run begins with: initial values that its seed draws, or the weights of another run, its parent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from titans_lab.run.sections import OUTSIDE

_RUN_ID = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class InitConfig:
    """Initial weights: drawn from the seed, or those that another run, the parent, ended with.

    The parent's id is part of the run's id instead of the keys that name the parent. The parent's model may differ in
    all that leaves the shapes of its tensors alone, such as the chunk size, and so may length, data, rates and task.

    Attributes:
        arm: The arm of the parent: the name of an arm or of a sub-study, or values as `titans-lab plan` shows them,
            such as "depth=2". Of several arms of this name it is the one with the same other values as the run.
        study: The study file of that arm, relative to the folder of this study. Null: this study.
        run: The id of the parent, all 16 digits, instead of an arm.
        seed: The seed of the parent. Null: the run's own seed.
        weights_only: Whether a new training begins with the weights. False: the parent's training goes on, with the
            optimizer's state, the learning rates and the batches behind its last step. Then the parent needs
            `log.keep_state`.
    """

    arm: str | None = field(default=None, metadata=OUTSIDE)
    study: str | None = field(default=None, metadata=OUTSIDE)
    run: str | None = field(default=None, metadata=OUTSIDE)
    seed: int | None = field(default=None, metadata=OUTSIDE)
    weights_only: bool = field(default=True, metadata={"neutral": True})

    def __post_init__(self) -> None:
        for name in ("arm", "study"):
            if (text := getattr(self, name)) is not None and not text.strip():
                raise ValueError(f"{name}: is empty; name one, or write null")
        if self.run is not None and not _RUN_ID.fullmatch(self.run):
            raise ValueError(f"run: {self.run!r} is not the id of a run, 16 hexadecimal digits; plan --wide shows them")
        if self.run is not None and self._is_arm:
            raise ValueError("run: names the parent already; remove init.arm and init.study, or this")
        if self.seed is not None and not self._is_arm:
            raise ValueError("seed: is for init.arm and init.study, which name several runs; remove it")
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed: {self.seed} is negative")
        if not self and not self.weights_only:
            raise ValueError("weights_only: there is no training to go on with; name it by init.arm or init.run")

    @property
    def _is_arm(self) -> bool:
        return self.arm is not None or self.study is not None

    def __bool__(self) -> bool:
        """Return whether the run begins with the weights of another one."""
        return self._is_arm or self.run is not None


@dataclass(frozen=True)
class Parent:
    """The run whose weights a run begins with.

    Attributes:
        run_id: The id.
        study: The study file that trains it, with the overrides; "" for the run's own study, or where it is not known.
        steps: The optimiser steps that the parent had behind it, where its training goes on; None where the parent's
            configuration is not known. 0: a new training begins with its weights.
    """

    run_id: str
    study: str = ""
    steps: int | None = 0

    @property
    def goes_on(self) -> bool:
        """Return whether the parent's training goes on, so that its state is needed besides its weights."""
        return self.steps != 0
