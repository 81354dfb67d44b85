"""Arms of equal cost: a width, a feed-forward ratio or a budget of tokens solved for, by closed-form costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from titans_lab.study import derived
from titans_lab.study.config import LogConfig, RunConfig, SpeedConfig, TrainConfig
from titans_lab.study.fields import build, plain
from titans_lab.study.identity import flatten

TOLERANCE = 0.01  # largest share of the target by which an arm may miss it
MOST_RUNGS = 2**30
MOST_GAPS = 64  # values in a row that a configuration may refuse

#: What can be held, and what can be solved for it: the first by default.
SOLVED_BY = {
    "params": ("dim", "mlp_ratio"),
    "flops": ("dim", "mlp_ratio", "tokens"),
    "state": ("dim",),
    "tokens": ("tokens",),
}
QUANTITIES: dict[str, Callable[[RunConfig], int]] = {
    "params": derived.params,
    "flops": derived.flops,
    "state": derived.state,
    "tokens": derived.tokens,
}
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
    """What is equal in all arms, and by what: each of `by` in turn takes what the one before left over."""

    what: str
    by: tuple[str, ...]


@dataclass(frozen=True)
class Solution:
    """A configuration, the values found for it by dotted key, and by what share it misses the target."""

    config: RunConfig
    values: dict[str, Any]
    deviation: float

    @property
    def holds(self) -> bool:
        """Whether it is near enough."""
        return abs(self.deviation) <= TOLERANCE


def solve(config: RunConfig, hold: Hold, target: int) -> Solution:
    """The nearest that a configuration comes to a cost; where it is near enough as it is, it stays.

    Args:
        config: The arm.
        hold: What to hold, and by what.
        target: The cost of the baseline, above 0.
    """
    values, missed = _solve(_shape(config), hold, target)
    given = dict(flatten(plain(config)))
    return Solution(build(RunConfig, given | values) if values else config, dict(values), missed)


def alternative(config: RunConfig, hold: Hold, target: int) -> Hold | None:
    """Another way of holding the same, which works."""
    ways = [(by,) for by in SOLVED_BY[hold.what]] + [("dim", "mlp_ratio")] * (hold.what in ("params", "flops"))
    others = (Hold(hold.what, way) for way in ways if way != hold.by)
    return next((other for other in others if solve(config, other, target).holds), None)


def deviation(config: RunConfig, hold: Hold, target: int) -> float:
    """By what share of the target a configuration misses it."""
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

    def above(rung: int) -> bool:
        return deviation(_standing(config, by, rung), hold, target) > 0

    low, high = 1, 2
    while high < MOST_RUNGS and not above(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if above(middle) else (middle, high)
    ends = (_standing(config, by, rung) for rung in (low, high))
    return min(ends, key=lambda end: abs(deviation(end, hold, target)))


def _standing(config: RunConfig, by: str, rung: int) -> RunConfig:
    """The first configuration from a rung on that is possible; where there is none near, the one that was given."""
    return next(_possible(config, by, rung), config)


def _possible(config: RunConfig, by: str, rung: int) -> Iterator[RunConfig]:
    section, _, name = KEYS[by].partition(".")
    for each in range(rung, rung + MOST_GAPS):
        try:
            inner = dataclasses.replace(getattr(config, section), **{name: RUNGS[by](config, each)})
            yield dataclasses.replace(config, **{section: inner})
        except ValueError:
            continue
