"""Predict the time and memory of runs on this machine from the store's runs on hardware like it.

The time of a run is its steps times the seconds of a step, which follow the FLOPs of a step. The peak memory follows
the bytes of the parameters, their gradients, the optimizer's state and the average, and of what the layers keep.
`stats.law` fits both, with an offset for each variant, to runs with the same device, number of devices, threads,
precision and kernel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from titans.models.config import effective
from titans_lab.planning.history import Hardware, Past
from titans_lab.run import derived
from titans_lab.run.config import RunConfig, flatten
from titans_lab.stats.law import CostLaw, Estimate, Example

NUMBER = 4  # bytes of a float32
KEPT = 64  # bytes that a layer keeps of a channel of a token: a rough number, since the fit finds the factor


@dataclass(frozen=True)
class Cost:
    """The predicted time and peak memory of a run, or None where the store has no run like it."""

    seconds: Estimate | None
    peak_bytes: Estimate | None


class Experience:
    """The costs that a store has recorded, for each hardware."""

    def __init__(self, history: Iterable[Past]) -> None:
        time: dict[Hardware, list[Example]] = defaultdict(list)
        memory: dict[Hardware, list[Example]] = defaultdict(list)
        for past in history:
            if past.hardware and past.step_seconds:
                time[past.hardware].append(_example(past.config, step_flops(past.config), past.step_seconds))
            if past.hardware and past.peak_bytes:
                memory[past.hardware].append(_example(past.config, size(past.config), past.peak_bytes))
        self.time = {hardware: CostLaw(examples) for hardware, examples in time.items()}
        self.memory = {hardware: CostLaw(examples) for hardware, examples in memory.items()}

    def cost(self, config: RunConfig, hardware: Hardware) -> Cost:
        """Return the predicted cost of a run on some hardware."""
        law, bytes_law = self.time.get(hardware), self.memory.get(hardware)
        if law is None and bytes_law is None:
            return Cost(None, None)
        about = config.model.variant, shape(config)
        step = law.estimate(step_flops(config), *about) if law else None
        return Cost(
            seconds=step.times(config.train.steps) if step else None,
            peak_bytes=bytes_law.estimate(size(config), *about) if bytes_law else None,
        )


def on(kind: str, name: str, config: RunConfig) -> Hardware:
    """Return the hardware of a run as its worker finds it: one thread, and the kernel that the worker chooses."""
    return Hardware(kind, name, 1, config.train.precision, derived.kernel(config, kind), config.speed.devices)


def step_flops(config: RunConfig) -> int:
    """Return the FLOPs of a step, forward and backward."""
    return derived.flops_per_token(config) * config.train.step_tokens


def size(config: RunConfig) -> int:
    """Return roughly the bytes that training holds."""
    kept = config.train.step_tokens * config.model.dim * config.model.n_layers
    return NUMBER * derived.trained_numbers(config) + KEPT * kept


@lru_cache(maxsize=20_000)
def shape(config: RunConfig) -> Hashable:
    """Return a value that is equal for runs whose steps are the same work."""
    train = config.train
    model = tuple(flatten(effective(config.model)))
    sizes = train.seq_len, train.batch_size, train.schedule
    work = train.precision, train.optimizer, train.momentum > 0, train.ema is not None
    return model, config.task, sizes, work, replace(config.speed, profile=0)


def total(costs: Sequence[Cost], devices: int) -> Estimate | None:
    """Return the seconds until all runs are done on some devices, or None where those of a run are unknown.

    The interval is as wide as if all predictions erred to the same side, since those of one study often do.
    """
    each = [cost.seconds for cost in costs if cost.seconds]
    if len(each) < len(costs) or not each:
        return None
    lows, highs = [one.low for one in each], [one.high for one in each]
    sums = [sum(one.value for one in each), _sum(lows), _sum(highs)]
    longest = [max(one.value for one in each), _max(lows), _max(highs)]
    value, low, high = (
        None if a is None or b is None else max(a / devices, b) for a, b in zip(sums, longest, strict=True)
    )
    assert value is not None
    return Estimate(value, low, high, min(one.examples for one in each))


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _max(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _example(config: RunConfig, work: float, cost: float) -> Example:
    return Example(work, cost, config.model.variant, shape(config))
