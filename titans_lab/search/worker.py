"""A worker of a search: it trains runs of the trials that the search's coordinator, a process elsewhere, has started.

Nobody gives it a run: it reads the trials in the store. It starts runs as long as the coordinator lives, and stops a
run whose trial was ended.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from titans_lab.executors.devices import Device
from titans_lab.executors.local import LocalExecutor
from titans_lab.executors.slots import device_slots
from titans_lab.launch import Options, first_checkpoint
from titans_lab.run.run import Run
from titans_lab.search.finalists import candidates
from titans_lab.search.recorded import recorded
from titans_lab.search.tuning import Tuning
from titans_lab.store.claims import Watch
from titans_lab.store.files import DamagedError
from titans_lab.store.records import read_finalists
from titans_lab.store.searches import SearchFolder
from titans_lab.store.status import FINISHED
from titans_lab.store.store import Store
from titans_lab.sweep import Share, Sweep

LOOK_SECONDS = 1.0  # between two looks at the trials


@dataclass
class TrialWorker:
    """The part of a worker in a search.

    Attributes:
        tunings: The search of each arm.
        needed: The seconds to the first checkpoint of each run that the worker may start. The sweep has them, too.
        watch: Finds out whether the coordinator lives.
        looked: The time of the last look at the trials, by a monotonic clock.
        lives: Whether the coordinator lived then.
        runs: The runs of trials that were to be trained then, by id.
    """

    tunings: Sequence[Tuning]
    needed: dict[str, float] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    looked: float = -math.inf
    lives: bool = True
    runs: dict[str, Run] = field(default_factory=dict)

    def look(self, sweep: Sweep) -> bool:
        """Give the sweep the runs to train, stop those whose trials have ended, and return whether more may follow."""
        if time.monotonic() - self.looked > LOOK_SECONDS:
            self.looked = time.monotonic()
            self.lives = any(not self.watch.over(tuning.folder.coordinator) for tuning in self.tunings)
            self.runs = {run.run_id: run for tuning in self.tunings for run in _runs(tuning)}
            self.needed |= first_checkpoint(list(self.runs.values()), {})
            for run_id in sweep.active.keys() - self.runs.keys() - sweep.asked.keys():
                sweep.stop(run_id, "pruned", "the trial has ended")
            sweep.waiting[:] = list(self._claimable(sweep)) if self.lives else []
        return self.lives and not sweep.left

    def _claimable(self, sweep: Sweep) -> Iterator[Run]:
        """Yield the runs that have no end and that this worker does not train or leave."""
        known = {run.run_id for run in sweep.left} | sweep.active.keys()
        for run_id, run in self.runs.items():
            folder = sweep.store.run(run_id)
            if run_id not in known and folder.state() not in FINISHED and not folder.given_up():
                yield run


def worker_of(
    found: Sequence[Tuning], store: Store, devices: Sequence[Device], options: Options
) -> tuple[TrialWorker, Sweep]:
    """Return a worker of a search, and the sweep over its runs, of which `options.share` says how long it may take.

    Args:
        found: The search of each arm.
        store: The store.
        devices: The devices to run on.
        options: The options of the sweep.
    """
    worker = TrialWorker(found)
    sweep = Sweep(
        store,
        LocalExecutor(worker.watch),
        device_slots(devices, options.per_device),
        [],
        timeout=options.timeout or math.inf,
        most=options.max_parallel,
        share=replace(options.share or Share(), needed=worker.needed),
        watch=worker.watch,
    )
    return worker, sweep


def _runs(tuning: Tuning) -> list[Run]:
    """Return the next run of each trial that is running, or the runs of the finalists once they are chosen."""
    settled = [trial.number for trial in tuning.ended if trial.state != "failed"]  # a failed one may run again
    tuning.trials |= {trial.number: trial for trial in recorded(tuning.goal, tuning.folder, settled)}
    chosen = _finalists(tuning.folder)
    if chosen:
        return [run for each in candidates(tuning) for run in each.runs if run.run_id in chosen]
    return [tuning.next_run(trial) for trial in tuning.active if not trial.why]


def _finalists(folder: SearchFolder) -> set[str]:
    """Return the ids of the runs with fresh seeds that the present coordinator has chosen."""
    try:
        record = read_finalists(folder.finalists_path)
    except (FileNotFoundError, DamagedError):
        return set()
    return {row["run_id"] for row in record["runs"]} if record.get("coordinator") == folder.last_coordinator else set()
