"""What runs will cost on this machine, from what the store's runs have cost on hardware like it.

A run takes its steps times the seconds of one, and those follow the FLOPs of a step; its peak memory follows the bytes
of its parameters, their gradients and AdamW's two moments, and of what its layers keep. Both by `stats.law`, with an
offset for each variant, over runs of the same device, threads, precision and kernel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from titans.models.config import effective
from titans_lab.planning.history import Hardware, Past
from titans_lab.stats.law import Estimate, Example, Law
from titans_lab.study import derived
from titans_lab.study.config import RunConfig, flatten

TRAINED = 16  # bytes a parameter: itself, its gradient and two moments
KEPT = 64  # bytes that a block keeps of a channel of a token: a rough number, whose factor the fit finds


@dataclass(frozen=True)
class Cost:
    """What a run is expected to take; None where the store has nothing like it."""

    seconds: Estimate | None
    peak_bytes: Estimate | None


class Experience:
    """What a store knows of costs, by hardware."""

    def __init__(self, history: Iterable[Past]) -> None:
        time: dict[Hardware, list[Example]] = defaultdict(list)
        memory: dict[Hardware, list[Example]] = defaultdict(list)
        for past in history:
            if past.hardware and past.step_seconds:
                time[past.hardware].append(_example(past.config, step_flops(past.config), past.step_seconds))
            if past.hardware and past.peak_bytes:
                memory[past.hardware].append(_example(past.config, size(past.config), past.peak_bytes))
        self.time = {hardware: Law(examples) for hardware, examples in time.items()}
        self.memory = {hardware: Law(examples) for hardware, examples in memory.items()}

    def cost(self, config: RunConfig, hardware: Hardware) -> Cost:
        """Of a run on some hardware."""
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
    """The hardware of a run as a worker finds it: one thread, and the kernel that is chosen there."""
    return Hardware(kind, name, 1, config.train.precision, derived.kernel(config, kind))


def step_flops(config: RunConfig) -> int:
    """FLOPs of a step, forward and backward."""
    return derived.flops_per_token(config) * config.train.batch_size * config.train.seq_len


def size(config: RunConfig) -> int:
    """Bytes, roughly, that training holds."""
    kept = config.train.batch_size * config.train.seq_len * config.model.dim * config.model.n_layers
    return TRAINED * derived.params(config) + KEPT * kept


@lru_cache(maxsize=20_000)
def shape(config: RunConfig) -> Hashable:
    """Equal for runs whose steps are the same work."""
    train = config.train
    model = tuple(flatten(effective(config.model)))
    return model, config.task, train.seq_len, train.batch_size, train.precision, replace(config.speed, profile=0)


def total(costs: Sequence[Cost], devices: int) -> Estimate | None:
    """Seconds until all are done on so many devices; None where some run's are unknown.

    Its interval is as wide as if all runs erred to the same side, which those of one study often do.
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
