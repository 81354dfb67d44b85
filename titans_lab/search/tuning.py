"""The search of one arm: its points, their runs, and their results.

A trial begins "running" and ends once:

    done                          every seed has a value
    pruned                        the pruner stopped the run of its first seed
    stopped                       racing: behind the best after some of its seeds
    diverged, oom                 a run ended like this, and has no value
    infeasible                    it breaks a bound before it starts, or is no configuration of the study
    failed                        a run failed; the next search sets it to running again

While it runs, `by_seed` grows by one for each seed that ends, and the next seed's run starts. A trial with `why` that
is still running was asked to stop, and ends when its run has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from titans_lab.errors import UserError
from titans_lab.run.identity import run_id
from titans_lab.run.run import Run
from titans_lab.search.judge import Judge
from titans_lab.search.memory import Forecast
from titans_lab.search.proposer import Goal, Proposer
from titans_lab.search.racing import is_behind
from titans_lab.search.recorded import recorded
from titans_lab.search.runner import Runner
from titans_lab.search.trial import Origin, Trial, TrialState
from titans_lab.store.columns import METRICS
from titans_lab.store.folder import Attempt
from titans_lab.store.logs import read_lines
from titans_lab.store.records import read_finalists
from titans_lab.store.searches import SearchFolder
from titans_lab.store.status import FINISHED
from titans_lab.store.store import Store
from titans_lab.study.point import Point
from titans_lab.study.study import SearchArm

MOST_EXAMPLES = 8  # the most values of a parameter whose models are verified before the search
#: The state of a trial whose run ended without a value. Any other state is a failure, which is tried again.
ENDS: dict[str, TrialState] = {"diverged": "diverged", "oom": "oom", "pruned": "pruned"}


@dataclass
class Tuning:
    """The search of an arm, which continues from whatever the store has of it.

    Attributes:
        arm: The arm of the study.
        goal: The space, the objectives, the sampler and the pruner.
        judge: The judge of the runs.
        data_hash: The hash of the arm's data.
        validates: Whether the study sets `log.valid_every`.
        store: The store with the runs.
        folder: The folder of the trials.
        what: The definition of the search, as plain data.
        trials: The trials by their number.
        exhausted: Whether every point of a grid was tried.
        forecast: Predicts the peak memory of a trial, or None where no bound is on that.
    """

    arm: SearchArm
    goal: Goal
    judge: Judge
    data_hash: str
    validates: bool
    store: Store
    folder: SearchFolder
    what: dict[str, Any]
    trials: dict[int, Trial] = field(default_factory=dict)
    exhausted: bool = False
    forecast: Forecast | None = None

    def load(self) -> None:
        """Load the trials that the store has, and change nothing."""
        self.trials = {trial.number: trial for trial in recorded(self.goal, self.folder)}

    def begin(self, known: Iterable[tuple[dict[str, Any], list[Run]]]) -> None:
        """Load the trials, add trials for runs that the store has, and let failed trials run again.

        Args:
            known: Points with a run for every seed from any study, and these runs.
        """
        self.trials = {trial.number: reopened(trial) for trial in recorded(self.goal, self.folder)}
        had = [dict(trial.params) for trial in self.trials.values()]
        for params, runs in known:
            if params not in had:
                had.append(params)
                self._adopt(params, runs)
        self.proposer = Proposer(self.goal, list(self.trials.values()))

    def recorded_runs(self) -> list[str]:
        """Return the ids of the runs of all trials and finalists that the store has."""
        path = self.folder.finalists_path
        finalists = read_finalists(path)["runs"] if path.exists() else []
        of_trials = [run_id for trial in recorded(self.goal, self.folder) for run_id in trial.runs]
        return of_trials + [row["run_id"] for row in finalists]

    @property
    def begun(self) -> int:
        """Return how many trials were started. Trials that the store had do not count."""
        return sum(trial.origin != "store" for trial in self.trials.values())

    @property
    def active(self) -> list[Trial]:
        """Return the trials that have not ended."""
        return [trial for trial in self.trials.values() if trial.running]

    @property
    def ended(self) -> list[Trial]:
        """Return the trials that have ended."""
        return [trial for trial in self.trials.values() if not trial.running]

    @property
    def wants_more(self) -> bool:
        """Return whether there are more points to try."""
        return not self.exhausted and self.begun < self.goal.terms.trials

    def best(self, most: int = 1) -> list[Trial]:
        """Return the best trials, best first; with several objectives all on the Pareto front, ordered by the first."""
        feasible = [trial for trial in self.trials.values() if trial.feasible]
        if len(self.judge.metrics) > 1:
            feasible = [trial for trial in feasible if not any(self._beats(other, trial) for other in feasible)]
        sign = 1 if self.judge.metrics[0].direction == "minimize" else -1
        ranked = sorted(feasible, key=lambda trial: sign * trial.values[0] if trial.values else 0.0)
        return ranked if len(self.judge.metrics) > 1 else ranked[:most]

    def ask(self) -> None:
        """Start a trial, or find that a grid is at its end. A trial that is not feasible ends at once."""
        number = max(self.trials, default=-1) + 1
        queue = self.goal.terms.enqueue[sum(trial.origin == "enqueued" for trial in self.trials.values()) :]
        wanted = {key: setting.value for key, setting in queue[0].items()} if queue else None
        params = self.proposer.ask(number, wanted)
        if params is None:
            self.exhausted = True
            return
        origin: Origin = "sampler" if wanted is None else "enqueued"
        trial = Trial(number, origin, params, started=_now())
        try:
            runs = self.runs(params)
        except UserError as error:
            self._end(replace(trial, state="infeasible", why=str(error)))
            return
        config = runs[0].config
        trial = replace(trial, runs=tuple(run.run_id for run in runs), planned=len(runs) * config.train.steps)
        expected = self.forecast.figures(config) if self.forecast else {}
        limits = self.judge.limits(config, expected)
        broken = [name for name, excess in limits.items() if excess > 0]
        if broken:
            words = [f"{name}, expected {expected[name]:.4g}" if name in expected else name for name in broken]
            self._end(replace(trial, state="infeasible", limits=limits, why=f"not within {', '.join(words)}"))
        else:
            self._keep(replace(trial, limits=self.judge.limits(config, {})))

    def runs(self, params: Mapping[str, Any]) -> list[Run]:
        """Return the runs of a trial, one for each seed. Raise UserError where it is no configuration of the study."""
        proxy = {key: setting.value for key, setting in self.goal.terms.proxy.items()}
        return self._runs(self.arm.point({**proxy, **params}), range(self.goal.terms.seeds))

    def final_runs(self, params: Mapping[str, Any]) -> list[Run]:
        """Return the runs of a finalist, one for each fresh seed, which no trial used."""
        terms = self.goal.terms
        assert terms.finalists
        return self._runs(self.arm.point(params), range(terms.seeds, terms.seeds + terms.finalists.seeds))

    def _runs(self, point: Point, seeds: Iterable[int]) -> list[Run]:
        config = self.judge.logged(point.config, self.validates)
        held = point.solved, point.deviation, point.baseline
        return [
            Run(run_id(config, seed, self.data_hash), config, seed, self.data_hash, point.factors, *held)
            for seed in seeds
        ]

    def examples(self) -> list[Run]:
        """Return runs with the models that the search may meet: the arm's, and one for each value of its parameters."""
        points: list[dict[str, Any]] = [{}]
        for dimension in self.goal.terms.space:
            if dimension.key.startswith("model.") and dimension.values is not None:
                points += [{dimension.key: value} for value in dimension.values[:MOST_EXAMPLES]]
        found: list[Run] = []
        for point in points:
            with suppress(UserError):  # a trial like this would not start
                found += self.runs(point)[:1]
        return found

    def look(self, sweep: Runner) -> list[Run]:
        """Take in how runs ended, stop the unpromising ones, and return the runs that are to start."""
        wanted = []
        at_work = {run.run_id for run in sweep.waiting} | sweep.active.keys()
        for trial in self.active:
            run = self.next_run(trial)
            if trial.why:  # it was asked to stop
                self._look_stopped(trial, run, sweep, at_work)
            elif run.run_id in sweep.active:
                self._watch(trial, run, sweep)
            elif run.run_id not in at_work and not self._resolve(trial, run, sweep):
                wanted.append(self.next_run(self.trials[trial.number]))
        return wanted

    def next_run(self, trial: Trial) -> Run:
        """Return the run of the first seed that has not ended."""
        return self.runs(trial.params)[len(trial.by_seed)]

    def _look_stopped(self, trial: Trial, run: Run, sweep: Runner, at_work: set[str]) -> None:
        if run.run_id not in at_work:
            status = self.store.run(run.run_id).status()
            if status and status.state in FINISHED:  # it was done before it was asked
                self._resolve(trial, run, sweep)
            else:
                values = (trial.reports[max(trial.reports)],) if trial.reports else None
                self._end(replace(trial, state="pruned", values=values, steps=trial.steps + _steps(status)))
        elif run.run_id in sweep.active and run.run_id not in sweep.asked:
            sweep.stop(run.run_id, "pruned", trial.why or "")

    def _watch(self, trial: Trial, run: Run, sweep: Runner) -> None:
        """Tell the pruner what is new in a run of the first seed."""
        if not self.judge.prunes or trial.by_seed:
            return
        reports = dict(trial.reports)
        for step, value in self._unheard(trial, run, sweep.attempt(run.run_id)):
            reports[step] = value
            if self.proposer.report(trial.number, step, value):
                first = self.judge.metrics[0].name
                trial = replace(trial, why=f"{first} {value:.6g} at report {step} is unpromising")
                break
        self.trials[trial.number] = replace(trial, reports=reports)  # recorded when it ends: the run has them, too
        if trial.why:
            self._keep(self.trials[trial.number])
            sweep.stop(run.run_id, "pruned", trial.why)

    def _unheard(self, trial: Trial, run: Run, attempt: Attempt) -> list[tuple[int, float]]:
        """Return the logged values of a run that the pruner does not know yet."""
        rows, _ = read_lines(attempt.metrics_path, METRICS)
        return [
            (step, value) for step, value in self.judge.reports(run.config, rows).items() if step not in trial.reports
        ]

    def _heard(self, trial: Trial, run: Run) -> Trial:
        """Return the trial with what a run of the first seed logged last before it ended."""
        attempt = self.store.run(run.run_id).latest()
        if not self.judge.prunes or trial.by_seed or attempt is None:
            return trial
        last = self._unheard(trial, run, attempt)
        for step, value in last:
            self.proposer.report(trial.number, step, value)
        return replace(trial, reports={**trial.reports, **dict(last)})

    def _resolve(self, trial: Trial, run: Run, sweep: Runner) -> bool:
        """Take in how a run ended, if it has, and return whether the trial ended with it."""
        status = self.store.run(run.run_id).status()
        state = sweep.ended.get(run.run_id)
        if status and status.state in FINISHED:
            state = status.state
        if state is None:
            return False
        trial = replace(self._heard(trial, run), steps=trial.steps + _steps(status))
        values = self.judge.values(run.config, status.summary) if status and state == "done" else None
        if status is None or values is None:
            lines = (status.error or "").strip().splitlines() if status else []
            ended: TrialState = ENDS.get(state, "failed")
            self._end(replace(trial, state=ended, why=lines[-1] if lines else state))
            return True
        if self.forecast:
            self.forecast.learn(run, status.summary)
        limits = _worse(trial.limits, self.judge.limits(run.config, status.summary))
        trial = replace(trial, by_seed=(*trial.by_seed, values), limits=limits, why=None)
        if len(trial.by_seed) == len(trial.runs):
            self._end(replace(trial, state="done", values=self.judge.mean(trial.by_seed)))
        elif len(self.judge.metrics) == 1 and is_behind(trial, list(self.trials.values()), self.judge.metrics[0]):
            why = f"behind after {len(trial.by_seed)} of {len(trial.runs)} seeds"
            self._end(replace(trial, state="stopped", values=self.judge.mean(trial.by_seed), why=why))
        else:
            self._keep(trial)
            return False
        return True

    def _adopt(self, params: dict[str, Any], runs: Sequence[Run]) -> None:
        """Add a trial that is done, from runs that the store has."""
        number = max(self.trials, default=-1) + 1
        trial = Trial(number, "store", params, runs=tuple(run.run_id for run in runs), started=_now())
        by_seed: list[tuple[float, ...]] = []
        limits: dict[str, float] = {}
        for run in runs:
            status = self.store.run(run.run_id).status()
            values = self.judge.values(run.config, status.summary) if status else None
            if status is None or values is None:
                return
            by_seed.append(values)
            limits = _worse(limits, self.judge.limits(run.config, status.summary))
        trial = replace(
            trial, state="done", values=self.judge.mean(by_seed), by_seed=tuple(by_seed), limits=limits, ended=_now()
        )
        self._keep(trial)

    def _end(self, trial: Trial) -> None:
        self._keep(self.proposer.tell(replace(trial, ended=_now())))

    def _keep(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        self.folder.save_trial(trial.plain())

    def _beats(self, one: Trial, other: Trial) -> bool:
        """Return whether a trial is no worse in any objective and better in one."""
        pairs = list(zip(self.judge.metrics, one.values or (), other.values or (), strict=True))
        no_worse = not any(metric.better(theirs, ours) for metric, ours, theirs in pairs)
        return no_worse and any(metric.better(ours, theirs) for metric, ours, theirs in pairs)


def reopened(trial: Trial) -> Trial:
    """Return a trial as a new coordinator starts with it: a failed trial runs again."""
    return replace(trial, state="running", why=None, ended=None) if trial.state == "failed" else trial


def _worse(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return the larger violation of each bound."""
    both = [*one.items(), *other.items()]
    return {name: max(excess for each, excess in both if each == name) for name, _ in both}


def _steps(status: Any) -> int:
    return int(status.summary.get("steps") or 0) if status else 0


def _now() -> str:
    return datetime.now(UTC).isoformat()
