"""How far the runs of a study, or of a whole store, are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from titans_lab.store.folder import Attempt, Store
from titans_lab.store.logs import latest_row
from titans_lab.study import derived
from titans_lab.study.study import Run

STUDIES_SQL = """
select study, count(*) as runs,
       count(*) filter (state = 'done') as done,
       count(*) filter (state = 'diverged') as diverged,
       count(*) filter (state = 'running') as running,
       count(*) filter (state in ('failed', 'oom', 'timeout')) as failed,
       count(*) filter (state is null or state in ('pending', 'lost', 'cancelled')) as missing,
       max(finished) as last_finished
from studies left join runs using (run_id)
group by study order by study"""


def study_status(runs: Sequence[Run], store: Store) -> list[dict[str, Any]]:
    """A row for each run: its state, and the figures of its commit or of its last line of metrics."""
    return [_row(run, store) for run in runs]


def store_status(store: Store) -> list[dict[str, Any]]:
    """A row for each study that was swept into the store."""
    from titans_lab.store.query import query

    return query(store.root, STUDIES_SQL).to_pylist()


def _row(run: Run, store: Store) -> dict[str, Any]:
    folder = store.run(run.run_id)
    status, latest = folder.status(), folder.latest()
    figures = status.summary if status else _live(latest)
    error = (status.error or "").strip().splitlines() if status else []
    return {
        "run": run.label,
        "id": run.run_id,
        "state": folder.state(),
        "tokens": figures.get("tokens", 0),
        "of": derived.tokens(run.config),
        "loss": figures.get("loss"),
        "train_loss": figures.get("train_loss"),
        "tokens_per_second": figures.get("tokens_per_second"),
        "error": error[-1] if error else None,
    }


def _live(latest: Attempt | None) -> dict[str, Any]:
    """The figures of an attempt's last line, under the names of a commit's."""
    row = latest and latest_row(latest.metrics_path)
    return {**row, "loss": None, "train_loss": row["loss"]} if row else {}
