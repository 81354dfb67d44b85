"""Quantities that follow from a run's configuration, and configurations that are solved for one of them.

The quantities have the names that studies call them by. `hold` in a study asks for arms of equal cost: a width, a
feed-forward ratio or a budget of tokens is solved for, by the closed forms of `titans.models.cost`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from shutil import which
from typing import Any

from titans.models.cost import parameters, state_bytes, train_flops_per_token
from titans_lab.errors import listed
from titans_lab.study.config import LogConfig, RunConfig, SpeedConfig, TrainConfig
from titans_lab.tasks.settings import Ends, language_model_ends

#: FLOPs of a training, some ten minutes of a core: a tenth to a quarter of that is more than it takes to compile.
COMPILED_FROM = 2e13
TRAINING = 6  # FLOPs of a multiply-add, forward and backward
TOLERANCE = 0.01  # largest share of the target by which an arm may miss it
MOST_RUNGS = 2**30
MOST_GAPS = 64  # values in a row that a configuration may refuse

_parameters = lru_cache(maxsize=None)(parameters)  # many runs of a study share a model
_flops_per_token = lru_cache(maxsize=None)(train_flops_per_token)
_state_bytes = lru_cache(maxsize=None)(state_bytes)


def params(config: RunConfig) -> int:
    """Return the trainable numbers of a run's model, embedding and output projection included."""
    usual, ends = _ends(config)
    return _parameters(config.model) + ends.parameters - usual.parameters


def flops_per_token(config: RunConfig) -> int:
    """Return the FLOPs of training on a token, forward and backward."""
    usual, ends = _ends(config)
    train = config.train
    return _flops_per_token(config.model, train.seq_len, train.batch_size) + TRAINING * (ends.products - usual.products)


def _ends(config: RunConfig) -> tuple[Ends, Ends]:
    """What a language model has before and after its blocks, and what the task's model has there."""
    return language_model_ends(config.model), config.task.settings.ends(config.model, config.train.seq_len)


def tokens(config: RunConfig) -> int:
    """Return the tokens that the whole steps within the budget read."""
    return config.train.steps * config.train.batch_size * config.train.seq_len


def flops(config: RunConfig) -> int:
    """Return the FLOPs of a whole training."""
    return flops_per_token(config) * tokens(config)


def state(config: RunConfig) -> int:
    """Return the bytes, in float32, that a sequence of `train.seq_len` tokens leaves behind for the next one."""
    return _state_bytes(config.model, config.train.seq_len)


def costs(config: RunConfig) -> dict[str, int]:
    """Return parameters, training FLOPs a token and bytes of a stream's state, as columns of the view `runs`."""
    return {
        "parameters": params(config),
        "flops_per_token": flops_per_token(config),
        "state_bytes": state(config),
    }


def kernel(config: RunConfig, device: str) -> str:
    """Return `speed.kernel`, where "auto" on a CPU is "compiled" for a training so long that compilation pays.

    Args:
        config: The run.
        device: The kind of its device, "cpu" or "cuda".
    """
    asked = config.speed.kernel
    pays = device == "cpu" and config.model.has_memory and flops(config) >= COMPILED_FROM
    return "compiled" if asked == "auto" and pays and which(os.environ.get("CXX", "g++")) else asked


#: What an expression may ask for beside the keys of a run.
DERIVED: dict[str, Callable[[RunConfig], int]] = {
    "params": params,
    "flops": flops,
    "flops_per_token": flops_per_token,
    "state_bytes": state,
    "steps": lambda config: config.train.steps,
}

#: What can be held, and what can be solved for it: the first by default.
SOLVED_BY = {
    "params": ("dim", "mlp_ratio"),
    "flops": ("dim", "mlp_ratio", "tokens"),
    "state": ("dim",),
    "tokens": ("tokens",),
}
QUANTITIES = {"params": params, "flops": flops, "state": state, "tokens": tokens}
UNITS = {"params": "parameters", "flops": "training FLOPs", "state": "bytes of state", "tokens": "training tokens"}
KEYS = {"dim": "model.dim", "mlp_ratio": "model.mlp_ratio", "tokens": "train.tokens"}
#: The value at a rung of the ladder that the solver climbs, counted from 1.
RUNGS: dict[str, Callable[[RunConfig, int], int | float]] = {
    "dim": lambda config, rung: 2 * config.model.n_heads * rung,
    "mlp_ratio": lambda config, rung: round(8 * rung / config.model.dim, 6),
    "tokens": lambda config, rung: rung * config.train.batch_size * config.train.seq_len,
}


@dataclass(frozen=True)
class Hold:
    """What is equal in all arms.

    Attributes:
        what: The quantity, a key of `SOLVED_BY`.
        by: What is solved for: each in turn takes what the one before left over; empty: the first that `what` has.
    """

    what: str
    by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ways = SOLVED_BY[self.what]
        if not self.by:
            object.__setattr__(self, "by", ways[:1])
        for each in self.by:
            if each not in ways:
                remedy = ways[0] if len(ways) == 1 else f"one of {listed(ways)}"
                raise ValueError(f"by: {each} does not decide {self.what}; write {remedy}")
        if len(set(self.by)) < len(self.by):
            raise ValueError("by: one of them twice; remove one")

    @property
    def keys(self) -> tuple[str, ...]:
        """The dotted keys that are solved for."""
        return tuple(KEYS[by] for by in self.by)


@dataclass(frozen=True)
class Solution:
    """A configuration, the values found for it by dotted key, and by what share it misses the target."""

    config: RunConfig
    values: dict[str, Any]
    deviation: float

    @property
    def holds(self) -> bool:
        """Whether the deviation is within the tolerance."""
        return abs(self.deviation) <= TOLERANCE


def solve(config: RunConfig, hold: Hold, target: int) -> Solution:
    """Return the nearest that a configuration comes to a cost; one that is near enough stays as it is.

    Args:
        config: The arm.
        hold: What to hold, and by what.
        target: The cost of the baseline, above 0.
    """
    values, missed = _solve(_shape(config), hold, target)
    for key, value in values.items():
        config = _changed(config, key, value)
    return Solution(config, dict(values), missed)


def alternative(config: RunConfig, hold: Hold, target: int) -> Hold | None:
    """Return another way of holding the same that works, if there is one."""
    ways = [(by,) for by in SOLVED_BY[hold.what]] + [("dim", "mlp_ratio")] * (hold.what in ("params", "flops"))
    others = (Hold(hold.what, way) for way in ways if way != hold.by)
    return next((other for other in others if solve(config, other, target).holds), None)


def deviation(config: RunConfig, hold: Hold, target: int) -> float:
    """Return by what share of the target a configuration misses it."""
    return QUANTITIES[hold.what](config) / target - 1


def _shape(config: RunConfig) -> RunConfig:
    """All of a run that costs are computed from, so that runs which share it are solved once."""
    train = TrainConfig(tokens=config.train.tokens, seq_len=config.train.seq_len, batch_size=config.train.batch_size)
    return dataclasses.replace(config, train=train, log=LogConfig(), speed=SpeedConfig())


@lru_cache(maxsize=100_000)
def _solve(config: RunConfig, hold: Hold, target: int) -> tuple[dict[str, Any], float]:
    values: dict[str, Any] = {}
    for by in hold.by:
        if abs(deviation(config, hold, target)) <= TOLERANCE:
            break
        config = _nearest(config, by, hold, target)
        section, _, name = KEYS[by].partition(".")
        values[KEYS[by]] = getattr(getattr(config, section), name)
    return values, deviation(config, hold, target)


def _nearest(config: RunConfig, by: str, hold: Hold, target: int) -> RunConfig:
    """Of the ladder's configurations the one whose cost is nearest; costs rise along it."""

    def at(rung: int) -> RunConfig:
        return next(_possible(config, by, rung), config)

    low, high = 1, 2
    while high < MOST_RUNGS and deviation(at(high), hold, target) <= 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if deviation(at(middle), hold, target) > 0 else (middle, high)
    return min((at(low), at(high)), key=lambda end: abs(deviation(end, hold, target)))


def _possible(config: RunConfig, by: str, rung: int) -> Iterator[RunConfig]:
    """The configurations that are possible from a rung on."""
    for each in range(rung, rung + MOST_GAPS):
        try:
            yield _changed(config, KEYS[by], RUNGS[by](config, each))
        except ValueError:
            continue


def _changed(config: RunConfig, key: str, value: Any) -> RunConfig:
    section, _, name = key.partition(".")
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **{name: value})})
