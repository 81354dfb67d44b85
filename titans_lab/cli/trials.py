"""Trials in words: a line for each as it ends, and what a search found."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from titans_lab.cli.output import duration

if TYPE_CHECKING:
    from titans_lab.search.coordinator import Search
    from titans_lab.search.finalists import Final
    from titans_lab.search.trial import Trial
    from titans_lab.search.tuning import Tuning
    from titans_lab.sweep import Sweep

PLAIN_SECONDS = 30.0  # between two lines about the whole
SHOWN = 5  # of the best trials
BEGUN = ("done", "pruned", "raced", "diverged")


class TrialLines:
    """A line for each trial that has ended, and one about the whole every so many seconds."""

    def __init__(self) -> None:
        self.told: set[tuple[str, int]] | None = None  # None: before the first look, which finds those of earlier calls
        self.finals: set[str] = set()
        self.last = time.monotonic()

    def look(self, search: Search, sweep: Sweep) -> None:
        """Tell what is new."""
        ended = {(t.goal.name, trial.number): (t, trial) for t in search.tunings for trial in t.ended}
        for mark in [] if self.told is None else [mark for mark in ended if mark not in self.told]:
            tuning, trial = ended[mark]
            self.tell(f"{_arm(tuning)}{ended_words(tuning, trial)}")
        self.told = set(ended)
        for run_id, state in sweep.ended.items() if search.finalists else ():
            if run_id not in self.finals:
                self.finals.add(run_id)
                self.tell(f"{state:10} {finalist_words(search, run_id)}  [{len(self.finals)}]")
        if time.monotonic() - self.last > PLAIN_SECONDS:
            self.last = time.monotonic()
            self.tell(whole_words(search, sweep))

    def tell(self, line: str) -> None:
        """To people."""
        print(line, file=sys.stderr, flush=True)


def ended_words(tuning: Tuning, trial: Trial) -> str:
    """A trial that has ended, in a line: its figures, its values, and the best so far."""
    params = " ".join(f"{key}={value}" for key, value in trial.params.items())
    best = tuning.best()
    ahead = f"  best: trial {best[0].number}, {best[0].values[0]:.6g}" if best and best[0].values else ""
    why = f"  ({trial.why})" if trial.why else ""
    counts = f"[{tuning.begun - len(tuning.active)}/{tuning.goal.terms.trials}]"
    return f"{trial.state:10} trial {trial.number}  {_figures(tuning, trial.values)}  {params}{why}{ahead}  {counts}"


def finalist_words(search: Search, run_id: str) -> str:
    """Whose run with a fresh seed this is, and what came out."""
    chosen = [(t, each) for t, those in zip(search.tunings, search.finalists, strict=True) for each in those]
    tuning, candidate, run = next(
        (tuning, each, run) for tuning, each in chosen for run in each.runs if run.run_id == run_id
    )
    status = search.store.run(run_id).status()
    values = tuning.judge.values(run.config, status.summary) if status else None
    return f"finalist {_arm(tuning)}{candidate.name}, seed {run.seed}  {_figures(tuning, values)}"


def whole_words(search: Search, sweep: Sweep) -> str:
    """How far a search is, in a line."""
    if search.finalists:
        return f"finalists' runs: {len(sweep.ended)} ended, {len(sweep.active)} running, {len(sweep.waiting)} waiting"
    states = Counter(trial.state for tuning in search.tunings for trial in tuning.trials.values())
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    best = "".join(f"; {_arm(t)}best {b.values[0]:.6g}" for t in search.tunings for b in t.best() if b.values)
    return f"trials: {counts}{best}; about {duration(search.seconds_left)} left"


def _figures(tuning: Tuning, values: Sequence[float] | None) -> str:
    return ", ".join(f"{f.name} {v:.6g}" for f, v in zip(tuning.judge.metrics, values or (), strict=False))


def _arm(tuning: Tuning) -> str:
    return f"{tuning.arm.label}: " if tuning.arm.label else ""


def arm_summary(tuning: Tuning) -> dict[str, Any]:
    """What the search of an arm found, as plain data."""
    from titans_lab.stats.importance import importances

    trials = list(tuning.trials.values())
    begun = [trial for trial in trials if trial.state in BEGUN and trial.origin != "store"]
    judged = [trial for trial in begun if trial.state in ("done", "pruned", "raced")]  # what diverged has saved nothing
    done = [trial for trial in trials if trial.state == "done" and trial.values]
    steps, planned = (sum(getattr(trial, name) for trial in judged) for name in ("steps", "planned"))
    return {
        "search": tuning.goal.name,
        "arm": tuning.arm.label,
        "objectives": [{"name": metric.name, "direction": metric.direction} for metric in tuning.judge.metrics],
        "states": dict(Counter(trial.state for trial in trials)),
        "best": [trial.plain() for trial in tuning.best(SHOWN)],
        "importance": importances([t.params for t in done], [t.values[0] for t in done if t.values]),
        "steps": steps,
        "planned_steps": planned,
        "finalists": [],
    }


def final_row(final: Final) -> dict[str, Any]:
    """A finalist, as plain data."""
    found = final.difference
    return {
        "arm": final.arm,
        "candidate": final.candidate.name,
        "params": dict(final.candidate.params),
        "seeds": len(final.candidate.runs),
        "without_result": final.sample.diverged,
        "mean": final.mean,
        "difference": found and found.mean,
        "half_width": found and found.half_width,
        "p_adjusted": found and found.adjusted,
        "verdict": found and found.verdict,
        "run_ids": [run.run_id for run in final.candidate.runs],
    }


def print_arm(tuning: Tuning, summary: dict[str, Any]) -> None:
    """What the search of an arm found, for people."""
    from titans_lab.cli.output import print_table

    states = ", ".join(f"{number} {state}" for state, number in summary["states"].items()) or "none"
    typer.echo(f"\n{_arm(tuning)}trials: {states}")
    best = tuning.best(SHOWN)
    if best:
        keys = [dimension.key for dimension in tuning.goal.terms.space]
        names = [metric.name for metric in tuning.judge.metrics]
        rows = [
            [
                str(trial.number),
                *(f"{value:.6g}" for value in trial.values or ()),
                *(str(trial.params.get(key, "-")) for key in keys),
            ]
            for trial in best
        ]
        print_table(["trial", *names, *keys], rows)
    if summary["importance"]:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in summary["importance"].items())
        typer.echo(f"what it hung on (share of the variance of ranks): {shares}")
    if saved := summary["planned_steps"] - summary["steps"]:
        typer.echo(
            f"steps: {summary['steps']} of {summary['planned_steps']}, {saved / summary['planned_steps']:.0%} saved"
        )
    if summary["finalists"]:
        typer.echo("with fresh seeds")
        print_finals(summary["finalists"])


def print_finals(rows: Sequence[dict[str, Any]]) -> None:
    """Finalists, for people."""
    from titans_lab.cli.output import print_table

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
