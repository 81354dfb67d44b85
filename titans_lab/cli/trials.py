"""Print a line for each trial as it ends, and the results of a search."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from titans_lab.cli.output import note, print_rows, print_table, say
from titans_lab.durations import spell_duration
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.search.coordinator import Coordinator
    from titans_lab.search.runner import Runner
    from titans_lab.search.trial import Trial
    from titans_lab.search.tuning import Tuning

PLAIN_SECONDS = 30.0  # between two lines about the whole search


class TrialLines:
    """Prints a line for each trial that has ended, and one about the whole search every `PLAIN_SECONDS`."""

    def __init__(self) -> None:
        self.printed: set[tuple[str, int]] | None = (
            None  # None: before the first look, which finds the trials of earlier calls
        )
        self.finals: set[str] = set()
        self.last = time.monotonic()

    def look(self, search: Coordinator, sweep: Runner) -> None:
        """Print the new lines."""
        ended = {(t.goal.name, trial.number): (t, trial) for t in search.tunings for trial in t.ended}
        for mark in [] if self.printed is None else [mark for mark in ended if mark not in self.printed]:
            tuning, trial = ended[mark]
            note(f"{_arm(tuning)}{ended_words(tuning, trial)}")
        self.printed = set(ended)
        for run_id, state in sweep.ended.items() if search.finalists else ():
            if run_id not in self.finals:
                self.finals.add(run_id)
                note(f"{state:10} {finalist_words(search, run_id)}  [{len(self.finals)}]")
        if time.monotonic() - self.last > PLAIN_SECONDS:
            self.last = time.monotonic()
            note(whole_words(search, sweep))


def ended_words(tuning: Tuning, trial: Trial) -> str:
    """Return a line about a trial that has ended: its metrics, its parameters, and the best trial so far."""
    params = " ".join(f"{key}={value}" for key, value in trial.params.items())
    best = tuning.best()
    ahead = f"  best: trial {best[0].number}, {best[0].values[0]:.6g}" if best and best[0].values else ""
    why = f"  ({trial.why})" if trial.why else ""
    counts = f"[{tuning.begun - len(tuning.active)}/{tuning.goal.terms.trials}]"
    return f"{trial.state:10} trial {trial.number}  {_figures(tuning, trial.values)}  {params}{why}{ahead}  {counts}"


def finalist_words(search: Coordinator, run_id: str) -> str:
    """Return a line about a run with a fresh seed: its candidate and its metrics."""
    chosen = [(t, each) for t, those in zip(search.tunings, search.finalists, strict=True) for each in those]
    tuning, candidate, run = next(
        (tuning, each, run) for tuning, each in chosen for run in each.runs if run.run_id == run_id
    )
    status = search.store.run(run_id).status()
    values = tuning.judge.values(run.config, status.summary) if status else None
    return f"finalist {_arm(tuning)}{candidate.name}, seed {run.seed}  {_figures(tuning, values)}"


def whole_words(search: Coordinator, sweep: Runner) -> str:
    """Return a line about the state of a search."""
    if search.finalists:
        return f"finalists' runs: {len(sweep.ended)} ended, {len(sweep.active)} running, {len(sweep.waiting)} waiting"
    states = Counter(trial.state for tuning in search.tunings for trial in tuning.trials.values())
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    best = "".join(f"; {_arm(t)}best {b.values[0]:.6g}" for t in search.tunings for b in t.best() if b.values)
    return f"trials: {counts}{best}; about {spell_duration(search.seconds_left)} left"


def _figures(tuning: Tuning, values: Sequence[float] | None) -> str:
    return ", ".join(f"{f.name} {v:.6g}" for f, v in zip(tuning.judge.metrics, values or (), strict=False))


def _arm(tuning: Tuning) -> str:
    return f"{tuning.arm.label}: " if tuning.arm.label else ""


def print_arm(tuning: Tuning, summary: dict[str, Any]) -> None:
    """Print the results of the search of an arm."""
    states = ", ".join(f"{number} {state}" for state, number in summary["states"].items()) or "none"
    say(f"\n{_arm(tuning)}trials: {states}")
    if best := summary["best"]:
        keys = [dimension.key for dimension in tuning.goal.terms.space]
        names = [metric.name for metric in tuning.judge.metrics]
        rows = [
            [
                str(trial["number"]),
                *(f"{value:.6g}" for value in trial["values"] or ()),
                *(str(trial["params"].get(key, "-")) for key in keys),
            ]
            for trial in best
        ]
        print_table(["trial", *names, *keys], rows)
        say(f"The best as overrides: {shlex.join(summary['overrides'])}")
        for key, end in summary["at_edge"].items():
            say(
                f"{key} is best near {end:g}, an end of its range: the optimum may lie beyond; widen search.space.{key}"
            )
    if summary["importance"]:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in summary["importance"].items())
        say(f"Parameter importance (share of rank variance): {shares}")
    if saved := summary["planned_steps"] - summary["steps"]:
        share = saved / summary["planned_steps"]
        print(f"Steps: {summary['steps']} of {summary['planned_steps']}; early stopping saved {share:.0%}")
    if summary["finalists"]:
        print("\nFinalists, with fresh seeds:")
        print_finals(summary["finalists"])


def print_trials(tunings: Sequence[Tuning], form: TextFormat) -> None:
    """Print a row for each trial of each arm, with its metrics and parameters."""
    metrics = list(dict.fromkeys(metric.name for tuning in tunings for metric in tuning.judge.metrics))
    keys = list(dict.fromkeys(dimension.key for tuning in tunings for dimension in tuning.goal.terms.space))
    rows = []
    for tuning in tunings:
        names = [metric.name for metric in tuning.judge.metrics]
        for trial in tuning.trials.values():
            values = dict(zip(names, trial.values or (), strict=False))
            shown = [*map(values.get, metrics), *map(trial.params.get, keys)]
            rows.append([tuning.arm.label, trial.number, trial.state, *shown])
    print_rows(["arm", "trial", "state", *metrics, *keys], rows, form)


def print_finals(rows: Sequence[dict[str, Any]]) -> None:
    """Print the finalists."""
    names = ["arm", "candidate", "seeds", "mean", "difference", "p (Holm)", "verdict"]
    cells = [
        [
            row["arm"] or "-",
            row["candidate"],
            str(row["seeds"] - row["without_result"]) + (f" of {row['seeds']}" if row["without_result"] else ""),
            _number(row["mean"]),
            _number(row["difference"]) + (f" ± {row['half_width']:.2g}" if row["half_width"] else ""),
            _number(row["p_adjusted"]),
            row["verdict"] or "-",
        ]
        for row in rows
    ]
    print_table(names, cells)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
