"""Report the progress of the runs of a study or of a whole store."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError
from titans_lab.quantities import count, plural
from titans_lab.run import derived
from titans_lab.run.run import Run, config_of, labels
from titans_lab.store.compacted import Compacted
from titans_lab.store.files import Damage, DamagedError
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.logs import latest_row, read_latest
from titans_lab.store.parents import obstacle
from titans_lab.store.records import read_finalists, read_run, read_search, read_status, read_study
from titans_lab.store.searches import SearchFolder
from titans_lab.store.status import FINISHED, Status
from titans_lab.store.store import Store
from titans_lab.study.study import Study
from titans_lab.tables import shown

OF_SEARCH = " (search)"  # after the name of the study whose search a row is about
#: Columns that count several states.
COUNTED = {
    "done": {"done"},
    "running": {"running"},
    "diverged": {"diverged"},
    "failed": {"failed", "oom", "timeout"},
    "cancelled": {"cancelled", "pruned"},
}


def study_status(runs: Sequence[Run], store: Store) -> list[dict[str, Any]]:
    """Return a row for each run: its state, and the figures of its commit or its last line of metrics."""
    return [_row(run, store) for run in runs]


def study_columns(
    runs: Sequence[Run], rows: Sequence[Mapping[str, Any]], id_digits: int | None = 8
) -> dict[str, list[str]]:
    """Return the rows of `study_status` for these runs as columns of texts, without columns that say nothing.

    Args:
        runs: Some runs.
        rows: Their rows.
        id_digits: The digits of an id that are shown. None: all.
    """
    named = labels(runs)
    columns = {
        "run": [named[row["id"]] for row in rows],
        "id": [row["id"][:id_digits] for row in rows],
        "state": [row["state"] for row in rows],
        "trained": [f"{row['tokens'] / row['planned_tokens']:.0%}" for row in rows],
        "loss": [_figure(row["loss"], "{:.4f}".format) for row in rows],
        "train loss": [_figure(row["train_loss"], "{:.4f}".format) for row in rows],
        "tokens/s": [_figure(row["tokens_per_second"], count) for row in rows],
        "error": [shown(row["error"]) for row in rows],
    }
    return {name: cells for name, cells in columns.items() if any(cell != "-" for cell in cells)}


def _figure(value: float | None, words: Callable[[float], str]) -> str:
    """Return a figure; "-" for one that is not known yet."""
    return "-" if value is None or not math.isfinite(value) else words(value)


def shown_runs(study: Study, runs: Sequence[Run], store: Store) -> list[Run]:
    """Return the runs to show for a study: its own, or those of its search where only the search has begun.

    A run of the search is distinguished by its trial and parameters, a finalist's by `finalist`.
    """
    if study.search is None or any(store.run(run.run_id).state() != "pending" for run in runs):
        return list(runs)
    return [run for folder in store.searches() for run in _searched(folder, study.name, store)] or list(runs)


def _searched(folder: SearchFolder, study: str, store: Store) -> Iterator[Run]:
    """Yield the runs of a search whose records can be read. Yield none if the search belongs to another study."""
    try:
        if read_search(folder.definition_path)["study"] != study:
            return
        finalists = read_finalists(folder.finalists_path)["runs"] if folder.finalists_path.exists() else []
    except (FileNotFoundError, DamagedError):
        return
    named = [
        ({"trial": trial["number"], **trial["params"]}, name) for trial in folder.trials() for name in trial["runs"]
    ]
    for each in finalists:
        chosen = "baseline" if each["number"] is None else each["number"]
        named.append(({"finalist": chosen, **each["params"]}, each["run_id"]))
    for factors, run_id in named:
        with suppress(UserError):
            record = store.run(run_id).record()
            yield Run(run_id, config_of(record), record["seed"], record["data_hash"], factors)


def totals(states: Mapping[str, int]) -> str:
    """Return how many runs are in each state, those with a result first."""
    first = ("done", "diverged", "running")
    order = [*first, *sorted(states.keys() - set(first))]
    counted = [(state, states[state]) for state in order if state in states]
    runs = sum(states.values())
    listed = ", ".join(f"{count} {state}" for state, count in counted if count)
    return f"{plural(runs, 'run')}: {listed}" if runs else "no runs"


def seconds_left(runs: Sequence[Run], rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the seconds until the running and pending runs are done at the speed of those that run.

    Args:
        runs: Some runs.
        rows: The rows of `study_status` for these runs.

    Returns:
        None where none runs, or none of those has a speed yet.
    """
    work = [
        (row, float(derived.flops(run.config)), row["tokens"] / row["planned_tokens"])
        for run, row in zip(runs, rows, strict=True)
        if row["state"] in ("running", "pending")
    ]
    rate = sum(
        flops / row["planned_tokens"] * row["tokens_per_second"]
        for row, flops, _ in work
        if row["state"] == "running" and row["tokens_per_second"]
    )
    return sum(flops * (1 - share) for _, flops, share in work) / rate if rate else None


def store_status(store: Store) -> tuple[list[dict[str, Any]], list[Damage]]:
    """Return a row for each study and search of the store, and the records that could not be read."""
    if not store.root.is_dir():
        raise UserError(f"{store.root}: no such folder; name the store with --store or TITANS_LAB_STORE")
    states, damage = _states(store)
    rows = []
    for path in store.study_paths():
        try:
            ids = [run["run_id"] for run in read_study(path)["runs"]]
        except DamagedError as error:
            damage.append(error.damage)
        else:
            rows.append({"study": path.stem, **_counts([states.get(run_id, ("pending", None)) for run_id in ids])})
    searched, unread = _trial_runs(store)
    for study, ids in searched.items():
        counts = _counts([states.get(run_id, ("pending", None)) for run_id in ids])
        rows.append({"study": f"{study}{OF_SEARCH}", **counts})
    return rows, damage + unread


def _trial_runs(store: Store) -> tuple[dict[str, list[str]], list[Damage]]:
    """Return the runs of all trials that have begun, by the name of the study, and the damaged records of searches."""
    found: dict[str, list[str]] = {}
    damage: list[Damage] = []
    for folder in store.searches():
        try:
            study = read_search(folder.definition_path)["study"]
        except FileNotFoundError:
            continue
        except DamagedError as error:
            damage.append(error.damage)
        else:
            found.setdefault(study, []).extend(run for trial in folder.trials() for run in trial["runs"])
    return found, damage


def damage_of(runs: Sequence[Run], store: Store) -> list[Damage]:
    """Return the damage of runs: commits, without which a run counts as lost, and last lines of metrics."""
    found: list[Damage | None] = []
    for folder in (store.run(run.run_id) for run in runs):
        status, damage = _commit(folder)
        latest = None if status else folder.latest()
        found += [damage, _damage(read_run, folder.record_path)]
        found += [_damage(read_latest, latest.metrics_path)] if latest else []
    return [damage for damage in found if damage]


def _row(run: Run, store: Store) -> dict[str, Any]:
    folder = store.run(run.run_id)
    status, latest = folder.status(), folder.latest()
    figures = status.summary if status else _live(latest)
    said = (status.error or "").strip() if status else ""
    state = folder.state()
    why = latest.explained() if latest and state not in FINISHED | {"running"} else None
    met = obstacle(store, run.parent) if state == "pending" else None
    why = met.why if met else why
    error = [*said.splitlines(), *([why] if why else [])]
    return {
        "run": run.label,
        "id": run.run_id,
        "state": state,
        "tokens": figures.get("tokens", 0),
        "planned_tokens": derived.tokens(run.config),
        "loss": figures.get("loss"),
        "train_loss": figures.get("train_loss"),
        "tokens_per_second": figures.get("tokens_per_second"),
        "error": error[-1] if error else None,
    }


def _live(latest: Attempt | None) -> dict[str, Any]:
    """Return the figures of an attempt's last line of metrics, under the names that a commit uses."""
    row = latest and latest_row(latest.metrics_path)
    return {**row, "loss": None, "train_loss": row["loss"]} if row else {}


def _states(store: Store) -> tuple[dict[str, tuple[str, str | None]], list[Damage]]:
    """Return state and end of every run. Runs in a compaction are read from its manifest, which is fast."""
    damage: list[Damage] = []
    try:
        compacted = Compacted.load(store.root)
    except DamagedError as error:
        compacted = None
        damage.append(error.damage)
    entries = compacted.entries if compacted else {}
    states: dict[str, tuple[str, str | None]] = {name: (each.state, each.finished) for name, each in entries.items()}
    for folder in store.folders():
        if folder.run_id not in entries:
            status, problem = _commit(folder)
            states[folder.run_id] = (status.state, status.finished) if status else (folder.state(), None)
            damage += [problem] if problem else []
    return states, damage


def _commit(folder: RunFolder) -> tuple[Status | None, Damage | None]:
    try:
        return read_status(folder.commit_path()), None
    except FileNotFoundError:
        return None, None
    except DamagedError as error:
        return None, error.damage


def _damage(read: Callable[[Path], object], path: Path) -> Damage | None:
    try:
        read(path)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        return error.damage
    return None


def _counts(runs: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """Return the counts of one study's runs."""
    states = Counter(state for state, _ in runs)
    counts = {name: sum(states[state] for state in counted) for name, counted in COUNTED.items()}
    last = max((finished for _, finished in runs if finished), default=None)
    return {
        "runs": len(runs),
        **counts,
        "missing": len(runs) - sum(counts.values()),
        "last_finished": last and last[:19].replace("T", " "),
    }
