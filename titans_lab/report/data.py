"""The data of a report: rows of the store, read by statements that the page shows (`titans_lab.report.evidence`)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from titans_lab.quantities import plural
from titans_lab.report.evidence import Evidence, Row, by_then, listed
from titans_lab.report.subject import Subject, of_study
from titans_lab.run.config import TaskConfig
from titans_lab.run.identity import model_id
from titans_lab.run.metric import Metric
from titans_lab.store.status import FINISHED

if TYPE_CHECKING:
    from titans_lab.run.run import Run
    from titans_lab.store.query import Snapshot
    from titans_lab.study.study import Study

CURVE_POINTS = 128  # the most points of a learning curve, and half of that in studies of many runs
MANY = 400
POINT = ("bucket", "tokens", "steps", "seconds", "loss")
VALIDATED_POINTS = 3  # fewer validations than this are no curve


@dataclass(frozen=True)
class RunResult:
    """A row of the view `runs`. `score` is the metric that the study asks for. Fields are None until they are known."""

    run_id: str
    state: str
    score: float | None = None
    valid_loss: float | None = None
    score_writes_off: float | None = None
    loss_writes_off: float | None = None
    tokens: int | None = None
    tokens_per_second: float | None = None
    predicted_seconds: float | None = None
    wall_seconds: float | None = None
    peak_memory_bytes: int | None = None
    diverged_step: int | None = None
    parameters: int | None = None
    flops_per_token: int | None = None
    state_bytes: int | None = None
    data_hash: str | None = None
    data_source: str | None = None
    host: str | None = None
    device: str | None = None
    device_name: str | None = None
    python: str | None = None
    torch: str | None = None
    commit: str | None = None
    source_digest: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
    error: str | None = None


@dataclass(frozen=True)
class Outcome:
    """A run of the study and its result."""

    run: Run
    result: RunResult

    @property
    def score(self) -> float | None:
        """Return the task's metric of a run that reached its end, else None."""
        score = self.result.score
        return score if self.result.state == "done" and score is not None and math.isfinite(score) else None


@dataclass(frozen=True)
class CurvePoint:
    """An interval of a learning curve: the tokens, steps and seconds of its last figure, and its mean loss."""

    bucket: int
    tokens: int
    steps: int | None
    seconds: float | None
    loss: float


@dataclass(frozen=True)
class NgramBaseline:
    """The loss of an n-gram model on the same split.

    Attributes:
        context: The number of symbols of context.
        bits_per_byte: The loss in bits per symbol, which is a byte for texts.
        symbol: The symbol: "byte" or "base".
    """

    context: int
    bits_per_byte: float
    symbol: str

    @property
    def name(self) -> str:
        """Return the name in words."""
        return f"order-{self.context} {self.symbol} n-gram"


@dataclass(frozen=True)
class Speed:
    """A row of the view `benches`."""

    model: str
    length: int
    against: str
    batch: int | None
    precision: str | None
    kernel: str | None
    device_name: str | None
    threads: int | None
    tokens_per_second: float
    ratio: float
    ratio_low: float
    ratio_high: float
    product_share: float | None

    @property
    def setting(self) -> str:
        """Return the baseline of the measurement and its setting, in words."""
        threads = "threads unknown" if self.threads is None else plural(self.threads, "thread")
        kernel = "" if self.kernel in (None, "auto") else f"{self.kernel}, "
        how = f"{self.precision}, {kernel}{self.device_name}, {threads}"
        return f"{self.against} (batch {self.batch}, {how})"


@dataclass(frozen=True)
class Material:
    """Everything that the page is made of.

    Attributes:
        study: The subject of the page.
        outcomes: The runs of the study in its order, with their results.
        metric: The metric of their scores: what the study asks for, else the metric of the first run's task.
        own: Whether that is the task's own metric at the end, in which the paper and the n-gram baselines have their
            figures.
        loss: The task's loss, which training minimizes and the curves show.
        curve_kind: The kind of loss in the curves: "validation", or "training" where validations are too few.
        training_curves: The logged training losses by run id, whatever `curves` has.
        curves: The learning curves by run id. A run that logged nothing has none.
        ngram_baselines: The n-gram baselines of the study's split of the data. None where it has several splits.
        speeds: The speed of the study's models by length, as `titans-lab bench` measured it.
        evidence: The SQL statements that all of this came from. A section asks further ones.
    """

    study: Subject
    outcomes: tuple[Outcome, ...]
    metric: Metric
    own: bool
    loss: Metric
    curve_kind: str
    curves: dict[str, list[CurvePoint]]
    training_curves: dict[str, list[CurvePoint]]
    ngram_baselines: tuple[NgramBaseline, ...]
    speeds: tuple[Speed, ...]
    evidence: Evidence

    @property
    def empty(self) -> bool:
        """Return whether the store has none of the runs."""
        return all(each.result == RunResult(each.run.run_id, "pending") for each in self.outcomes)

    @property
    def finished_results(self) -> list[RunResult]:
        """Return the results of the runs that have finished."""
        return [outcome.result for outcome in self.outcomes if outcome.result.state in FINISHED]

    @property
    def ids(self) -> str:
        """Return the runs' ids as a list for SQL's `in`."""
        return listed(outcome.run.run_id for outcome in self.outcomes)

    def by_then(self, column: str) -> str:
        """Return the SQL condition that the time in `column` is not after the time of drawing, or is unknown."""
        return by_then(column, self.study.drawn)


def gather(study: Study, runs: Sequence[Run], root: Path) -> Material:
    """Return the data of a report on `runs` from the store at `root`. A run that the store lacks is pending."""
    from titans_lab.store.query import Snapshot

    snapshot = Snapshot(root)
    return material(of_study(study, runs, snapshot), snapshot)


def material(study: Subject, snapshot: Snapshot) -> Material:
    """Return the data of a report on a study."""
    return material_from(study, Evidence(snapshot))


def material_from(study: Subject, evidence: Evidence, suffix: str = "") -> Material:
    """Return the data of a report on a study, by statements whose names end in `suffix`."""
    runs = study.runs
    task = next((run.config.task for run in runs), TaskConfig()).settings
    by = study.metric or task.METRIC
    own = by == task.METRIC
    results = {row["run_id"]: RunResult(**row) for row in evidence.ask(f"runs{suffix}", _runs_sql(runs, by))}
    logged = evidence.ask(f"curves{suffix}", _curves_sql(runs))
    kind, curves = _curves(logged)
    ngram_baselines = evidence.ask(f"ngram_baselines{suffix}", _ngram_baselines_sql(runs))
    return Material(
        study=study,
        outcomes=tuple(Outcome(run, results.get(run.run_id, RunResult(run.run_id, "pending"))) for run in runs),
        metric=by,
        own=own,
        loss=task.LOSS,
        curve_kind=kind,
        curves=curves,
        training_curves=_of_kind(logged, "training"),
        ngram_baselines=tuple(NgramBaseline(**row, symbol=task.SYMBOL) for row in ngram_baselines)
        if one_split(runs) and task.ORDERS and own
        else (),
        speeds=tuple(Speed(**row) for row in evidence.ask(f"benches{suffix}", _benches_sql(study))),
        evidence=evidence,
    )


def one_split(runs: Sequence[Run]) -> bool:
    """Return whether all runs have the same task, data and split."""
    tasks = {(run.config.task.name, run.data_hash) for run in runs}
    splits = {(run.config.data.valid_fraction, run.config.data.valid_bytes) for run in runs}
    return len(tasks) == len(splits) == 1


def _curves(rows: Sequence[Row]) -> tuple[str, dict[str, list[CurvePoint]]]:
    validations = Counter(row["run_id"] for row in rows if row["kind"] == "validation")
    validated = bool(rows) and all(validations[row["run_id"]] >= VALIDATED_POINTS for row in rows)
    kind = "validation" if validated else "training"
    return kind, _of_kind(rows, kind)


def _of_kind(rows: Sequence[Row], kind: str) -> dict[str, list[CurvePoint]]:
    curves: dict[str, list[CurvePoint]] = {}
    for row in rows:
        if row["kind"] == kind:
            curves.setdefault(row["run_id"], []).append(CurvePoint(*(row[name] for name in POINT)))
    return curves


def _runs_sql(runs: Sequence[Run], by: Metric) -> str:
    names = (field.name for field in fields(RunResult))
    columns = ", ".join(f"{by.sql} as score" if name == "score" else f'"{name}"' for name in names)
    return f"select {columns}\nfrom runs\nwhere run_id in ({listed(run.run_id for run in runs)})\norder by run_id"


def _curves_sql(runs: Sequence[Run]) -> str:
    points = CURVE_POINTS if len(runs) <= MANY else CURVE_POINTS // 2
    return f"""\
with logged as (
  select run_id, tokens, step, elapsed_seconds, 'training' as kind, loss from metrics
  union all
  select run_id, tokens, step, elapsed_seconds, 'validation' as kind, valid_loss as loss from metrics
), points as (
  select *, cast(greatest(1, ceil({points}.0 * tokens / max(tokens) over ())) as integer) as bucket
  from logged
  where run_id in ({listed(run.run_id for run in runs)}) and tokens is not null
)
select run_id, kind, bucket, max(tokens) as tokens, max(step) as steps, max(elapsed_seconds) as seconds,
       avg(loss order by loss) as loss
from points
where isfinite(loss)
group by run_id, kind, bucket
order by run_id, kind, bucket"""


def _ngram_baselines_sql(runs: Sequence[Run]) -> str:
    """Return the statement for the n-gram baselines of the first run's split."""
    data = runs[0].config.data if runs else None
    valid_bytes = "null" if data is None or data.valid_bytes is None else data.valid_bytes
    return f"""\
select distinct context, bits_per_byte
from ngram_baselines
where data_hash in ({listed(run.data_hash for run in runs[:1])}) and split = 'test'
  and valid_fraction = {data.valid_fraction if data else "null"} and valid_bytes is not distinct from {valid_bytes}
order by context"""


def _benches_sql(study: Subject) -> str:
    """Return the statement for the latest bench of each kind."""
    models = listed(dict.fromkeys(model_id(run.config.model) for run in study.runs))
    columns = ", ".join(field.name for field in fields(Speed))
    return f"""\
select {columns}
from benches
where model in ({models}) and {by_then("started", study.drawn)}
  and length > 0 and against is not null and isfinite(tokens_per_second + ratio + ratio_low + ratio_high)
qualify row_number() over (
  partition by model, length, against, batch, precision, kernel, device_name, threads order by started desc, bench
) = 1
order by against, batch, precision, kernel, device_name, threads, length, model"""
