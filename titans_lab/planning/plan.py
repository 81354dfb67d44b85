"""Plan a study: its runs, their predicted cost, and what is new about them, from the store's runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from titans_lab.executors.answers import answers
from titans_lab.executors.devices import Device, joined
from titans_lab.planning.detectable import Foreseen, foreseen, size_of
from titans_lab.planning.edited import edited_since
from titans_lab.planning.expected import Cost, Experience, on, step_flops, total
from titans_lab.planning.history import History, Past, past_of, read_history
from titans_lab.planning.novelty import Novelty, novelties
from titans_lab.planning.undecided import undecided
from titans_lab.run import derived
from titans_lab.run.config import RunConfig
from titans_lab.run.metric import Metric
from titans_lab.run.run import Run, record_of
from titans_lab.stats.law import Estimate
from titans_lab.store.parents import hindered
from titans_lab.store.status import FINISHED
from titans_lab.store.store import Store

#: What runs that are compared should have in common, of what was recorded of them.
COMPARED = ("device_name", "devices", "torch", "commit", "kernel")


@dataclass(frozen=True)
class PlannedRun:
    """A run with its state in the store, its cost, and what is new about it.

    Attributes:
        run_id: The run's id.
        label: The run's factors and seed.
        state: The state in the store; "pending" where the store does not have the run.
        parent: The id of the run whose weights it begins with, or None.
        parameters: The parameters of its model.
        tokens: The tokens that it trains on.
        flops: The FLOPs of its training, forward and backward.
        state_bytes: The bytes of the state that a sequence passes on to its next token.
        solved: The values that `hold` found for it, by dotted key.
        deviation: The deviation from the held cost, as a share. None: no cost is held.
        seconds: The seconds that it will take, or None where it is done, or the store has nothing like it.
        peak_bytes: The most memory that it will hold; None in the same cases.
        new: The differences from the nearest finished run. None: the run is done, or the store has no finished run.
    """

    run_id: str
    label: str
    state: str
    parent: str | None
    parameters: int
    tokens: int
    flops: int
    state_bytes: int
    solved: dict[str, Any]
    deviation: float | None
    seconds: Estimate | None = None
    peak_bytes: Estimate | None = None
    new: Novelty | None = None


@dataclass(frozen=True)
class Plan:
    """The plan of a study.

    Attributes:
        runs: The runs, in the order in which they will be started.
        devices: The number of devices that will work in parallel.
        at_once: The number of runs at a time: one on each device, or on each of as many as the runs ask for.
        seconds: The seconds until all that is missing is done on them, or None where they are not known.
        worker_seconds: The sum of the seconds of all that is missing, which a report compares with what it took.
        detectable: The smallest difference that its seeds can detect, or None where the store does not tell.
        undecided: What the seeds cannot decide and how many could, or "" where they can.
        mixed: Facts in which its finished runs differ, by name: the number of runs with each value.
        edited: The number of finished runs that other source code trained, with the remedy, or "".
        orphans: The runs that cannot begin because their parents have no weights, by id: the reason.
    """

    runs: tuple[PlannedRun, ...]
    devices: int
    at_once: int
    seconds: Estimate | None
    worker_seconds: Estimate | None
    detectable: Foreseen | None
    undecided: str
    mixed: dict[str, dict[str, int]]
    edited: str
    orphans: dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[PlannedRun]:
        """Return the runs without a result."""
        return [run for run in self.runs if run.state not in FINISHED]


def plan(
    runs: Sequence[Run],
    store: Store,
    devices: Sequence[Device],
    probed: Iterable[Past] = (),
    metric: Metric | None = None,
    effect: float | None = None,
) -> Plan:
    """Plan the runs of a study, and write nothing.

    Args:
        runs: All of its runs, in the order in which they will be started.
        store: The store, which is read once.
        devices: The devices that will run them, all alike.
        probed: The measurements of `probe`.
        metric: The figure that its arms are compared by; None: the task's own.
        effect: The smallest difference that is worth finding; None where the study does not say.
    """
    metric = metric or runs[0].config.task.settings.METRIC
    history = read_history(store, metric)
    waiting = history.missing(runs)
    missing = [past_of(run) for run in waiting]
    costs = _costs(missing, Experience([*history.finished, *probed]), devices[0])
    new = dict(zip((past.run_id for past in missing), novelties(missing, history.finished), strict=True))
    found, compared = foreseen(runs, history.finished, metric.label), size_of(runs, history.finished)
    at_once = max(1, len(devices) // max(run.config.speed.devices for run in runs))
    return Plan(
        runs=tuple(_planned(run, history, costs.get(run.run_id), new.get(run.run_id)) for run in runs),
        devices=len(devices),
        at_once=at_once,
        seconds=total(list(costs.values()), min(at_once, max(1, len(costs)))),
        worker_seconds=total(list(costs.values()), 1),
        detectable=found,
        undecided=undecided(compared.seeds, compared.arms, found, effect),
        mixed=_mixed(runs, history),
        edited=edited_since(history.finished_envs(runs)),
        orphans=hindered(waiting, store, {run.run_id for run in waiting}),
    )


def expected_seconds(runs: Sequence[Run], history: History, device: Device) -> dict[str, float]:
    """Return the seconds that each run without a result will take on a device, by its id, where they are known."""
    missing = [past_of(run) for run in history.missing(runs)]
    costs = _costs(missing, Experience(history.finished), device)
    return {run_id: cost.seconds.value for run_id, cost in costs.items() if cost.seconds}


def probe(runs: Sequence[Run], devices: Sequence[Device]) -> list[Past]:
    """Measure five steps of the run with the smallest steps and of the one with the largest, on the first devices.

    Raises:
        EndedEarly: A run broke. Its traceback is on standard error.
    """
    return [_probed(run, joined(devices[: run.config.speed.devices])) for run in smallest_and_largest(runs)]


def smallest_and_largest(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with the fewest and the most FLOPs a step, which may be one run."""
    by_size = sorted(runs, key=lambda run: step_flops(run.config))
    return list({run.run_id: run for run in (by_size[0], by_size[-1])}.values())


def _probed(run: Run, device: Device) -> Past:
    arguments, record = ["--device", device.kind], record_of(run, "")
    with closing(answers("titans_lab.training.probe", arguments, record, device.environment())) as given:
        return past_of(run, on(device.kind, device.hardware, run.config), **next(given))


def _costs(missing: Sequence[Past], known: Experience, device: Device) -> dict[str, Cost]:
    @cache  # the seeds of a configuration cost the same
    def cost(config: RunConfig) -> Cost:
        return known.cost(config, on(device.kind, device.hardware, config))

    return {past.run_id: cost(past.config) for past in missing}


def _planned(run: Run, history: History, cost: Cost | None, new: Novelty | None) -> PlannedRun:
    return PlannedRun(
        run_id=run.run_id,
        label=run.label,
        state=history.state(run),
        parent=run.parent.run_id if run.parent else None,
        parameters=derived.params(run.config),
        tokens=derived.tokens(run.config),
        flops=derived.flops(run.config),
        state_bytes=derived.state(run.config),
        solved=run.solved,
        deviation=run.deviation,
        seconds=cost.seconds if cost else None,
        peak_bytes=cost.peak_bytes if cost else None,
        new=new,
    )


def _mixed(runs: Sequence[Run], history: History) -> dict[str, dict[str, int]]:
    envs = history.finished_envs(runs)
    counts = {name: Counter(str(env[name]) for env in envs if name in env) for name in COMPARED}
    digests = {env.get("source_digest") for env in envs}
    if len(digests) == 1 and None not in digests:
        del counts["commit"]  # nothing that decides numbers differs between them
    return {name: dict(count) for name, count in counts.items() if len(count) > 1}
