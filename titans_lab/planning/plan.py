"""What a study would run, what it will cost, and what is new about it: by arithmetic and what the store remembers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

from titans_lab.executors.answers import answers
from titans_lab.executors.devices import Device
from titans_lab.planning.detectable import Detectable, detectable
from titans_lab.planning.expected import Cost, Experience, on, step_flops, total
from titans_lab.planning.history import Past, past_of, read_history
from titans_lab.planning.novelty import Novelty, novelties
from titans_lab.stats.law import Estimate
from titans_lab.store.status import FINISHED, Status
from titans_lab.store.store import Store
from titans_lab.study import derived
from titans_lab.study.config import RunConfig
from titans_lab.study.run import Run, record_of

#: Of what was recorded of a run: where runs that are compared should agree.
COMPARED = ("device_name", "torch", "commit", "kernel")


@dataclass(frozen=True)
class PlannedRun:
    """A run, its state in the store, its cost, and what is new about it.

    Attributes:
        run_id: Its name in the store.
        label: Its factors and seed, for people.
        state: As the store knows it; "pending" where it does not.
        parameters: Of the model.
        tokens: To train on.
        flops: To train, forward and backward, from start to end.
        state_bytes: What a sequence leaves behind for the next one.
        solved: What `hold` found for it, by dotted key.
        deviation: From what is held, as a share of it; None: nothing is held.
        seconds: That it will take; None where it is done, or the store has nothing like it.
        peak_bytes: That it will hold at most.
        new: What is new about it; None where it is in the store, or that has no finished run.
    """

    run_id: str
    label: str
    state: str
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
    """A study before it runs.

    Attributes:
        runs: In the order in which they will be launched.
        devices: That will work at once.
        seconds: Until what is missing is done on them; None where that is not known.
        detectable: The smallest difference that the seeds can show; None where the store does not tell.
        mixed: What the finished runs do not share, by name: how many runs have each value.
    """

    runs: tuple[PlannedRun, ...]
    devices: int
    seconds: Estimate | None
    detectable: Detectable | None
    mixed: dict[str, dict[str, int]]

    @property
    def missing(self) -> list[PlannedRun]:
        """The runs without a result."""
        return [run for run in self.runs if run.state not in FINISHED]


def plan(runs: Sequence[Run], store: Store, devices: Sequence[Device], probed: Iterable[Past] = ()) -> Plan:
    """Of the runs of a study, in their order.

    Args:
        runs: All of them.
        store: That has some of them, and others.
        devices: That will run them, all alike.
        probed: What `probe` measured.
    """
    found = _statuses(runs, store)
    missing = [past_of(run) for run in runs if found[run.run_id][0] not in FINISHED]
    history = read_history(store) if missing or len(runs) > 1 else []
    costs = _costs(missing, Experience([*history, *probed]), devices[0])
    new = dict(zip((past.run_id for past in missing), novelties(missing, history), strict=True))
    baselines = {run.config for run in runs if run.baseline}
    return Plan(
        runs=tuple(_planned(run, found[run.run_id][0], costs.get(run.run_id), new.get(run.run_id)) for run in runs),
        devices=len(devices),
        seconds=total(list(costs.values()), min(len(devices), max(1, len(costs)))),
        detectable=detectable([past_of(run) for run in runs], baselines, history),
        mixed=_mixed([status for _, status in found.values() if status]),
    )


def expected_seconds(runs: Sequence[Run], store: Store, device: Device) -> dict[str, float]:
    """That each run without a result is expected to take on a device, by its id, as far as the store can tell."""
    found = _statuses(runs, store)
    missing = [past_of(run) for run in runs if found[run.run_id][0] not in FINISHED]
    known = Experience(read_history(store) if missing else [])
    costs = _costs(missing, known, device).items()
    return {run_id: cost.seconds.value for run_id, cost in costs if cost.seconds}


def probe(runs: Sequence[Run], device: Device) -> list[Past]:
    """Five steps of the run with the smallest steps and of the one with the largest, on a device.

    Raises:
        EndedEarly: One of them broke; its traceback is on stderr.
    """
    return [_probed(run, device) for run in smallest_and_largest(runs)]


def smallest_and_largest(runs: Sequence[Run]) -> list[Run]:
    """The runs with the fewest and the most FLOPs a step; one run, where it is both."""
    by_size = sorted(runs, key=lambda run: step_flops(run.config))
    return list({run.run_id: run for run in (by_size[0], by_size[-1])}.values())


def _probed(run: Run, device: Device) -> Past:
    record = record_of(run, "")
    with closing(
        answers("titans_lab.training.probe", ["--device", device.kind], record, device.environment())
    ) as given:
        return past_of(run, on(device.kind, device.hardware, run.config), **next(given))


def _statuses(runs: Sequence[Run], store: Store) -> dict[str, tuple[str, Status | None]]:
    """State and commit of each run; one look at the folder tells which are there at all."""
    folder = store.root / "runs"
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    found: dict[str, tuple[str, Status | None]] = {}
    for run in runs:
        status = store.run(run.run_id).status() if run.run_id in there else None
        state = status.state if status else store.run(run.run_id).state() if run.run_id in there else "pending"
        found[run.run_id] = state, status
    return found


def _costs(missing: Sequence[Past], known: Experience, device: Device) -> dict[str, Cost]:
    @cache  # the seeds of a configuration cost the same
    def cost(config: RunConfig) -> Cost:
        return known.cost(config, on(device.kind, device.hardware, config))

    return {past.run_id: cost(past.config) for past in missing}


def _planned(run: Run, state: str, cost: Cost | None, new: Novelty | None) -> PlannedRun:
    return PlannedRun(
        run_id=run.run_id,
        label=run.label,
        state=state,
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


def _mixed(finished: Sequence[Status]) -> dict[str, dict[str, int]]:
    counts = {name: Counter(str(status.env[name]) for status in finished if name in status.env) for name in COMPARED}
    return {name: dict(count) for name, count in counts.items() if len(count) > 1}
