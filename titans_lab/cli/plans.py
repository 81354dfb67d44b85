"""The verb that says what a study would run, before anything does."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from titans_lab.cli.arguments import (
    AsCsv,
    AsJson,
    MaxParallel,
    Overrides,
    StoreFolder,
    StudyFile,
    load,
    open_store,
    usable_devices,
)

if TYPE_CHECKING:
    from titans_lab.executors.devices import Device
    from titans_lab.planning.plan import Plan, PlannedRun
    from titans_lab.stats.law import Estimate
    from titans_lab.study.derived import Hold
    from titans_lab.study.run import Run
    from titans_lab.study.study import Study

FIGURES = ("parameters", "tokens", "flops", "state_bytes")
ESTIMATED = ("seconds", "peak_bytes")
LONGEST_NEW = 80  # characters of what is new about a run, in the table


def plan(
    study: StudyFile,
    overrides: Overrides = None,
    store: StoreFolder = None,
    max_parallel: MaxParallel = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Time five steps of the smallest and of the largest run first.")
    ] = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """List a study's runs: size and cost, which are there already, and what is new about the others. Runs nothing.

    Time and memory are learned from the store's own runs on hardware like this machine's; 95 % intervals. Time is with
    one run at a time on each device: how much runs that share one slow each other is not known before they do.
    """
    from titans_lab.planning.plan import plan as plan_runs

    loaded, runs = load(study, overrides)
    devices = _devices(max_parallel, probe)
    probed = _probe(runs, devices[0]) if probe else []
    found = plan_runs(loaded.launch_order(runs), open_store(store), devices, probed)
    search = _search(loaded, overrides or [])
    if as_json:
        print(json.dumps(_document(loaded, found, search), indent=1, default=str))
    elif as_csv:
        _print_csv(found)
    else:
        _print(found, loaded.hold)
        if search:
            typer.echo(_search_words(search))
    for name, values in found.mixed.items():
        listed = ", ".join(f"{value} ({runs} runs)" for value, runs in values.items())
        typer.echo(f"warning: the finished runs of this study differ in {name}: {listed}", err=True)


def _devices(most: int | None, probe: bool) -> list[Device]:
    """Those that a sweep would use; whether torch can use them is asked where they are to be used now."""
    from titans_lab.executors.devices import cores, gpus

    return (usable_devices() if probe else gpus() or cores())[:most]


def _probe(runs: Sequence[Run], device: Device) -> list[Any]:
    from titans_lab.errors import UserError
    from titans_lab.executors.answers import EndedEarly
    from titans_lab.planning.plan import probe

    typer.echo(f"timing five steps of the smallest and of the largest run on {device.hardware}", err=True)
    try:
        return probe(runs, device)
    except EndedEarly as error:
        raise UserError(f"--probe: {error}") from error


def _search(study: Study, overrides: Sequence[str]) -> dict[str, Any] | None:
    """What `titans-lab tune` would do, as plain data; None where the study has no search."""
    if study.search is None:
        return None
    terms = study.search.terms
    return {
        "trials": terms.trials,
        "arms": len(study.search.arms),
        "seeds": terms.seeds,
        "sampler": terms.sampler.name,
        "pruner": terms.pruner.name,
        "parameters": [dimension.key for dimension in terms.space],
        "finalists": _plain(terms.finalists),
        "command": shlex.join(["titans-lab", "tune", str(study.path), *overrides]),
    }


def _search_words(search: dict[str, Any]) -> str:
    arms = f" for each of {search['arms']} arms" if search["arms"] > 1 else ""
    keys = f"{len(search['parameters'])} parameters" if len(search["parameters"]) > 1 else search["parameters"][0]
    how = f"sampler {search['sampler']}, pruner {search['pruner']}"
    return f"search: {search['trials']} trials of {keys}{arms}, {how}; to start it: {search['command']}"


def _document(study: Study, found: Plan, search: dict[str, Any] | None) -> dict[str, Any]:
    """All that is known, as plain data."""
    about = {"study": study.name, "question": study.question, "expect": study.expect, "warnings": study.warnings}
    figures = {name: _plain(getattr(found, name)) for name in ("devices", "seconds", "detectable", "mixed")}
    rows = [{name: _plain(value) for name, value in vars(row).items()} for row in found.runs]
    return {**about, **figures, "search": search, "runs": rows}


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]


def _print_csv(found: Plan) -> None:
    """A row for each run; an estimate takes three columns."""
    from titans_lab.cli.output import print_rows

    ends = [f"{name}{end}" for name in ESTIMATED for end in ("", "_low", "_high")]
    names = [name for name in vars(found.runs[0]) if name not in (*ESTIMATED, "new")]
    rows = ([*(getattr(row, name) for name in names), *_ends(row), str(row.new or "")] for row in found.runs)
    print_rows([*names, *ends, "new"], rows, True, False)


def _ends(row: PlannedRun) -> list[float | None]:
    estimates = [getattr(row, name) for name in ESTIMATED]
    return [getattr(each, end, None) for each in estimates for end in ("value", "low", "high")]


def _print(found: Plan, hold: Hold | None) -> None:
    """The runs as a table, and what is to do."""
    from titans_lab.cli.output import count, print_table

    columns: dict[str, list[str]] = {
        "run": [row.label for row in found.runs],
        "id": [row.run_id for row in found.runs],
        "state": [row.state for row in found.runs],
    }
    for name, title in zip(FIGURES, ("parameters", "tokens", "FLOPs", "state bytes"), strict=True):
        columns[title] = [count(getattr(row, name)) for row in found.runs]
    if any(row.seconds for row in found.runs):
        columns["time"] = [_estimate(row.seconds, _time) for row in found.runs]
    if any(row.peak_bytes for row in found.runs):
        columns["memory"] = [_estimate(row.peak_bytes, _bytes) for row in found.runs]
    if hold:
        columns[f"{hold.what} held"] = [_held(row) for row in found.runs]
    if any(row.new for row in found.runs):
        columns["new, beside the nearest in the store"] = [_new(row) for row in found.runs]
    print_table(list(columns), zip(*columns.values(), strict=True))
    for line in _summary(found):
        typer.echo(line)


def _summary(found: Plan) -> list[str]:
    """What there is to do, how long it will take, and what it can show."""
    from titans_lab.cli.output import count

    missing = found.missing
    cost = f"{count(sum(row.tokens for row in missing))} tokens, {count(sum(row.flops for row in missing))} FLOPs"
    lines = [f"\n{len(found.runs)} runs, {len(missing)} to do: {cost}"]
    if missing:
        at_once = f"{found.devices} at a time" if found.devices > 1 else "one at a time"
        known = f"{_estimate(found.seconds, _time)}, {at_once}" if found.seconds else _unknown(missing)
        lines.append(f"time: {known}")
    if any(each and each.low is None for row in missing for each in (row.seconds, row.peak_bytes)):
        lines.append("(?): the store has too few runs like these to say how far off the figure may be")
    if (seen := found.detectable) and seen.difference:
        spread = f"standard deviation of paired differences {seen.sd:.2g}, from {seen.pairs} pairs in the store"
        lines.append(
            f"smallest difference that {seen.seeds} seeds find with 80 % power: {seen.difference:.2g} {seen.metric} "
            f"({seen.arms} arms after Holm; {spread})"
        )
    elif len({row.parameters for row in found.runs} | {row.label for row in found.runs}) > 1:
        why = "one seed shows none" if seen else "the store has no two arms like these with two seeds in common"
        lines.append(f"smallest difference that the seeds find: unknown; {why}")
    return lines


def _unknown(missing: Sequence[PlannedRun]) -> str:
    without = sum(row.seconds is None for row in missing)
    return f"unknown for {without} of {len(missing)} runs: the store has none on hardware like this; --probe measures"


def _estimate(estimate: Estimate | None, words: Any) -> str:
    if estimate is None:
        return "-"
    if estimate.low is None:
        return f"{words(estimate.value)} (?)"
    return f"{words(estimate.value)} ({words(estimate.low)} to {words(estimate.high)})"


def _time(seconds: float) -> str:
    from titans_lab.cli.output import duration

    return f"{seconds:.1f}s" if seconds < 10 else duration(seconds)


def _bytes(number: float) -> str:
    return f"{number / 2**20:.0f} MiB" if number < 2**30 else f"{number / 2**30:.1f} GiB"


def _new(row: PlannedRun) -> str:
    text = str(row.new or "")
    return text if len(text) <= LONGEST_NEW else text[:LONGEST_NEW] + "..."


def _held(row: PlannedRun) -> str:
    """What was solved for a run, and how far that is from what is held."""
    from titans_lab.study.values import assignment

    solved = (assignment(key, value) for key, value in row.solved.items())
    return " ".join((*solved, f"{row.deviation:+.2%}"))
