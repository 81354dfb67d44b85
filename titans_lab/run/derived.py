"""Compute costs from a run's configuration, and solve for configurations of equal cost.

The costs have the names that studies use. `hold` in a study asks for arms of equal cost. The solver then changes a
width, a feed-forward ratio or a budget of tokens, by the closed forms of `titans.models.cost`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from titans.compiler import c_compiler
from titans.models.cost import parameters, state_bytes, train_flops_per_token
from titans_lab.errors import listed
from titans_lab.run.config import LogConfig, RunConfig, SpeedConfig, TrainConfig
from titans_lab.tasks.settings import Ends, language_model_ends

TRAINING = 6  # FLOPs per multiply-add of a forward pass, forward and backward together
TOLERANCE = 0.01  # the largest deviation of an arm from the target, as a share
MOST_RUNGS = 2**30
MOST_GAPS = 64  # consecutive values that a configuration may refuse

_parameters = lru_cache(maxsize=None)(parameters)  # many runs of a study share a model
_flops_per_token = lru_cache(maxsize=None)(train_flops_per_token)
_state_bytes = lru_cache(maxsize=None)(state_bytes)


def params(config: RunConfig) -> int:
    """Return the number of trainable parameters of a run's model, embedding and output projection included."""
    usual, ends = _ends(config)
    return _parameters(config.model) + ends.parameters - usual.parameters


def trained_numbers(config: RunConfig) -> int:
    """Return the numbers that training holds on to: parameters, gradients, the optimizer's state and the average.

    Muon holds one number for a parameter of the blocks, where nearly all are weights of linear layers. It holds two, as
    AdamW does, for the others.
    """
    count, train = params(config), config.train
    blocks = count - _ends(config)[1].parameters
    states = {"adamw": 2 * count, "muon": 2 * count - blocks, "sgd": count if train.momentum else 0}
    return 2 * count + states[train.optimizer] + (count if train.ema is not None else 0)


def flops_per_token(config: RunConfig) -> int:
    """Return the training FLOPs per token, forward and backward, as a mean over the lengths of the schedule."""
    usual, ends = _ends(config)
    sizes = ((share, config.train.at_length(length)) for length, share in config.train.lengths.items())
    blocks = sum(share * _flops_per_token(config.model, each.seq_len, each.batch_size) for share, each in sizes)
    return round(blocks) + TRAINING * (ends.products - usual.products)


def _ends(config: RunConfig) -> tuple[Ends, Ends]:
    """Return the costs outside of the blocks, of a language model and of the task's model."""
    return language_model_ends(config.model), config.task.settings.ends(config.model, config.train.seq_len)


def tokens(config: RunConfig) -> int:
    """Return the number of tokens in the whole steps within the budget."""
    return config.train.steps * config.train.step_tokens


def flops(config: RunConfig) -> int:
    """Return the FLOPs of a whole training."""
    return flops_per_token(config) * tokens(config)


def state(config: RunConfig) -> int:
    """Return the bytes of the float32 state after a sequence of `train.seq_len` tokens."""
    return _state_bytes(config.model, config.train.seq_len)


def costs(config: RunConfig) -> dict[str, int]:
    """Return parameters, training FLOPs per token and bytes of the state, as columns of the view `runs`."""
    return {
        "parameters": params(config),
        "flops_per_token": flops_per_token(config),
        "state_bytes": state(config),
    }


def kernel(config: RunConfig, device: str) -> str:
    """Return the kernel that the memory of a run computes with, or the one asked for if the model has no memory.

    "auto" on a CPU is "cpu" if there is a compiler to build that kernel. A form of the memory that no fused kernel
    computes runs in torch's steps, "torch", whatever is asked for.

    Args:
        config: The configuration of the run.
        device: The kind of device, "cpu" or "cuda".
    """
    asked = config.speed.kernel
    if not config.model.has_memory:
        return asked
    if config.model.torch_only:
        return "torch"
    return "cpu" if asked == "auto" and device == "cpu" and c_compiler() is not None else asked


#: The names that an expression may use besides the keys of a run.
DERIVED: dict[str, Callable[[RunConfig], int]] = {
    "params": params,
    "flops": flops,
    "flops_per_token": flops_per_token,
    "state_bytes": state,
    "steps": lambda config: config.train.steps,
}

#: The costs that can be held, and the keys that can be solved for, the first by default.
SOLVED_BY = {
    "params": ("dim", "mlp_ratio"),
    "flops": ("dim", "mlp_ratio", "tokens"),
    "state": ("dim",),
    "tokens": ("tokens",),
}
QUANTITIES = {"params": params, "flops": flops, "state": state, "tokens": tokens}
UNITS = {"params": "parameters", "flops": "training FLOPs", "state": "bytes of state", "tokens": "training tokens"}
KEYS = {"dim": "model.dim", "mlp_ratio": "model.mlp_ratio", "tokens": "train.tokens"}
#: The values that the solver tries, by their number from 1. The cost rises with the number.
RUNGS: dict[str, Callable[[RunConfig, int], int | float]] = {
    "dim": lambda config, rung: 2 * config.model.n_heads * rung,
    "mlp_ratio": lambda config, rung: round(8 * rung / config.model.dim, 6),
    "tokens": lambda config, rung: rung * config.train.step_tokens,
}


@dataclass(frozen=True)
class Hold:
    """The cost that is equal in all arms.

    Attributes:
        what: The cost, a key of `SOLVED_BY`.
        by: The keys that are solved for in order, each for the rest that the one before left. Empty: the default.
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
        """Return the dotted keys that are solved for."""
        return tuple(KEYS[by] for by in self.by)


@dataclass(frozen=True)
class Solution:
    """A configuration, the values that were solved for by dotted key, and the deviation from the target as a share."""

    config: RunConfig
    values: dict[str, Any]
    deviation: float

    @property
    def holds(self) -> bool:
        """Return whether the deviation is within the tolerance."""
        return abs(self.deviation) <= TOLERANCE


def solve(config: RunConfig, hold: Hold, target: int) -> Solution:
    """Return the configuration with the nearest cost to a target. One that is near enough stays unchanged.

    Args:
        config: The configuration of the arm.
        hold: The cost to hold and the keys to solve for.
        target: The cost of the baseline, above 0.
    """
    decisive = {name: getattr(config.train, name) for name in ("tokens", "seq_len", "batch_size", "schedule")}
    train = TrainConfig(**decisive)
    # Only the keys that decide costs, so that configurations of equal costs are solved once.
    shape = dataclasses.replace(config, train=train, log=LogConfig(), speed=SpeedConfig())
    values, missed = _solve(shape, hold, target)
    for key, value in values.items():
        config = _changed(config, key, value)
    return Solution(config, dict(values), missed)


def alternative(config: RunConfig, hold: Hold, target: int) -> Hold | None:
    """Return another way of holding the same cost that works, or None where there is none."""
    ways = [(by,) for by in SOLVED_BY[hold.what]] + [("dim", "mlp_ratio")] * (hold.what in ("params", "flops"))
    others = (Hold(hold.what, way) for way in ways if way != hold.by)
    return next((other for other in others if solve(config, other, target).holds), None)


def deviation(config: RunConfig, hold: Hold, target: int) -> float:
    """Return the deviation of a configuration's cost from the target, as a share of the target."""
    return QUANTITIES[hold.what](config) / target - 1


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
    """Return the configuration of the ladder with the nearest cost. Costs rise along the ladder."""

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
    """Yield the valid configurations of the ladder from a rung on."""
    for each in range(rung, rung + MOST_GAPS):
        try:
            yield _changed(config, KEYS[by], RUNGS[by](config, each))
        except ValueError:
            continue


def _changed(config: RunConfig, key: str, value: Any) -> RunConfig:
    section, _, name = key.partition(".")
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **{name: value})})
