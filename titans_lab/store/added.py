"""Columns that are derived from records: the arm of a run, the headline of evaluations, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from titans_lab.run.values import endings, label
from titans_lab.store.columns import ARM, HEADLINE, RUN_ID

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of `evals` that are null in a run's own final figure over all of its split.
PARTS = ("setting", "length", "depth", "position", "baseline", "evaluation")
Record = Mapping[str, Any]


def arm_labels(study: Record) -> dict[str, str]:
    """Return the name of each run's arm, by the run's id, from the record of a study."""
    ends = endings({key for run in study["runs"] for key in run.get("factors", {})})
    return {
        run["run_id"]: label({ends[key]: value for key, value in run.get("factors", {}).items()}).lstrip()
        for run in study["runs"]
    }


def arms(studies: Sequence[Record]) -> dict[str, str]:
    """Return the name of each run's arm in the first study that has the run, by the run's id."""
    return {run_id: arm for study in reversed(studies) for run_id, arm in arm_labels(study).items()}


def with_arm(table: pa.Table, known: Mapping[str, str]) -> pa.Table:
    """Return a table with the arm of each row's run after the run's id."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids, names = (pa.array(list(each), pa.string()) for each in (known.keys(), known.values()))
    return beside_id(table, names.take(pc.index_in(table[RUN_ID.name].combine_chunks(), ids)))


def beside_id(table: pa.Table, arms: pa.Array) -> pa.Table:
    """Return a table with the arms of its rows after the ids of the runs."""
    return table.add_column(table.column_names.index(RUN_ID.name) + 1, ARM.name, arms)


def with_headline(evals: pa.Table) -> pa.Table:
    """Return the figures of evaluations, each with whether it is the headline of its run."""
    import pyarrow.compute as pc

    whole = pc.is_null(evals[PARTS[0]])
    for part in PARTS[1:]:
        whole = pc.and_(whole, pc.is_null(evals[part]))
    return evals.append_column(HEADLINE.name, whole)


def differences(studies: Sequence[Record], runs: Mapping[str, Record]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the view `differences`: each finished run with the baseline's run of the same seed.

    Args:
        studies: The records of studies.
        runs: The rows of the view `runs` by id.
    """
    for study in studies:
        done = [run for run in study["runs"] if runs.get(run["run_id"], {}).get("state") == "done"]
        bases = [run for run in done if run.get("baseline")]
        named, asked = arm_labels(study), study.get("metric") or {}
        for run in done:
            ours = runs[run["run_id"]]
            rivals = [base for base in bases if runs[base["run_id"]]["seed"] == ours["seed"]]
            if rivals and not run.get("baseline"):
                base = max(rivals, key=lambda other: _shared(run, other))
                pair = _pair(ours, runs[base["run_id"]], asked)
                yield {"study": study["name"], "arm": named[run["run_id"]], "baseline": named[base["run_id"]], **pair}


def _shared(run: Record, base: Record) -> int:
    """Return how many factors two runs have in common."""
    theirs = base.get("factors", {})
    return sum(key in theirs and theirs[key] == value for key, value in run.get("factors", {}).items())


def _pair(ours: Record, theirs: Record, asked: Record) -> dict[str, Any]:
    """Return the difference of two runs by the metric that the study asks for, or else by the task's."""
    recorded = asked.get("name") in ours and asked["name"] != "score"
    column = asked["name"] if recorded else "score"
    direction = asked.get("direction") or ours["direction"]
    score, base = ours[column], theirs[column]
    known = all(value is not None and math.isfinite(value) for value in (score, base))
    difference = score - base if known else None
    return {
        "seed": ours["seed"],
        RUN_ID.name: ours[RUN_ID.name],
        "baseline_run_id": theirs[RUN_ID.name],
        "metric": column if recorded else ours["metric"],
        "unit": None if recorded else ours["unit"],
        "direction": direction,
        "score": score,
        "baseline_score": base,
        "difference": difference,
        "better": None if difference is None else (difference < 0) == (direction == "minimize") and difference != 0,
    }
