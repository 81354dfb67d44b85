"""The verb `plan`, which lists the runs of a study and their cost before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from titans_lab.cli.arguments import (
    Form,
    MaxParallel,
    Overrides,
    StoreFolder,
    Strict,
    StudyFile,
    load,
    open_store,
    usable_devices,
)
from titans_lab.cli.output import note, print_document, print_rows, say
from titans_lab.cli.screens import SHORT_ID, Wide, print_screen
from titans_lab.durations import spell_duration
from titans_lab.errors import UserError
from titans_lab.quantities import count, memory, plural
from titans_lab.run.values import show
from titans_lab.tables import TextFormat

if TYPE_CHECKING:
    from titans_lab.executors.devices import Device
    from titans_lab.planning.history import Past
    from titans_lab.planning.plan import Plan, PlannedRun
    from titans_lab.run.derived import Hold
    from titans_lab.run.run import Run
    from titans_lab.stats.law import Estimate

FIGURES = {"tokens": "tokens", "parameters": "parameters", "flops": "FLOPs"}
ESTIMATED = ("seconds", "peak_bytes")
LONGEST_NEW = 80  # characters of what is new about a run, in the table


def plan(
    study: StudyFile,
    overrides: Overrides = None,
    store: StoreFolder = None,
    max_parallel: MaxParallel = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="First time five steps of the smallest and of the largest run.")
    ] = False,
    strict: Strict = False,
    wide: Wide = False,
    form: Form = "table",
) -> None:
    """List the runs of a study with their size, cost and state, and with what is new about them. Nothing runs.

    Time and memory are predicted from the store's own runs on hardware like this machine's, with 95 % intervals. They
    are for one run at a time on each device: runs that share a device slow each other down by an unknown factor.
    """
    from titans_lab.launch import refuse_too_few
    from titans_lab.planning.document import document, search_document
    from titans_lab.planning.plan import plan as plan_runs
    from titans_lab.run.run import labels

    loaded, runs = load(study, overrides)
    devices = _devices(probe)
    refuse_too_few(loaded, devices)
    if max_parallel:
        devices = devices[: max_parallel * max(run.config.speed.devices for run in runs)]
    probed = _probe(runs, devices) if probe else []
    found = plan_runs(loaded.launch_order(runs), open_store(store), devices, probed, loaded.metric, loaded.effect)
    if found.edited and strict:
        raise UserError(f"--strict: {found.edited}")
    if form == "json":
        print_document(document(loaded, found, overrides or []))
    elif form != "table":
        _print_rows(found, form)
    else:
        print_screen(_columns(found, labels(runs), loaded.hold, wide), wide, every="run")
        print()
        _print_summary(found)
        if search := search_document(loaded, overrides or []):
            _print_search(search)
    if found.edited:
        note(f"warning: {found.edited}")
    if found.undecided:
        note(f"warning: {found.undecided}")
    for why, hindered in Counter(found.orphans.values()).items():
        note(f"warning: {hindered} of {plural(len(found.runs), 'run')} cannot begin: {why}")
    for name, values in found.mixed.items():
        listed = ", ".join(f"{value} ({plural(runs, 'run')})" for value, runs in values.items())
        note(f"warning: the finished runs of this study differ in {name}: {listed}")


def _devices(probe: bool) -> list[Device]:
    """Return the devices that a sweep would use. Whether torch can use them is asked only where something runs."""
    from titans_lab.executors.devices import cores, gpus

    return usable_devices() if probe else gpus() or cores()


def _probe(runs: Sequence[Run], devices: Sequence[Device]) -> list[Past]:
    from titans_lab.executors.answers import EndedEarly
    from titans_lab.planning.plan import probe

    note(f"timing five steps of the smallest and of the largest run on {devices[0].hardware}")
    try:
        return probe(runs, devices)
    except EndedEarly as error:
        raise UserError(f"--probe: {error}") from error


def _print_rows(found: Plan, form: TextFormat) -> None:
    """Print a row for each run, in which an estimate takes three columns."""
    ends = [f"{name}{end}" for name in ESTIMATED for end in ("", "_low", "_high")]
    names = [name for name in vars(found.runs[0]) if name not in (*ESTIMATED, "new")]
    rows = ([*(getattr(row, name) for name in names), *_ends(row), str(row.new or "")] for row in found.runs)
    print_rows([*names, *ends, "new"], rows, form)


def _ends(row: PlannedRun) -> list[float | None]:
    estimates = [getattr(row, name) for name in ESTIMATED]
    return [getattr(each, end, None) for each in estimates for end in ("value", "low", "high")]


def _columns(found: Plan, labels: Mapping[str, str], hold: Hold | None, wide: bool) -> dict[str, list[str]]:
    """Return the columns of the table of runs, those that matter most first."""
    columns = {
        "run": [labels[row.run_id] for row in found.runs],
        "id": [row.run_id if wide else row.run_id[:SHORT_ID] for row in found.runs],
        "state": [row.state for row in found.runs],
    }
    if any(row.parent for row in found.runs):
        columns["parent"] = [(row.parent or "-") if wide else (row.parent or "-")[:SHORT_ID] for row in found.runs]
    if any(row.seconds for row in found.runs):
        columns["time"] = [_estimate(row.seconds, _time) for row in found.runs]
    if any(row.peak_bytes for row in found.runs):
        columns["memory"] = [_estimate(row.peak_bytes, memory) for row in found.runs]
    if hold:
        columns[f"{hold.what} held"] = [_held(row) for row in found.runs]
    for name, title in FIGURES.items():
        columns[title] = [count(getattr(row, name)) for row in found.runs]
    columns["state bytes"] = [memory(row.state_bytes) for row in found.runs]
    if any(row.new for row in found.runs):
        columns["differs from the nearest run in"] = [_new(row, wide) for row in found.runs]
    return columns


def _print_summary(found: Plan) -> None:
    """Print the runs to train, their expected time, and the detectable difference."""
    missing = found.missing
    cost = f"{count(sum(row.tokens for row in missing))} tokens, {count(sum(row.flops for row in missing))} FLOPs"
    say(f"{plural(len(found.runs), 'run')}, {len(missing)} to run: {cost}")
    if missing:
        at_once = f"{found.at_once} at a time" if found.at_once > 1 else "one at a time"
        known = f"{_estimate(found.seconds, _time)}, {at_once}" if found.seconds else _unknown(missing)
        if found.at_once > 1 and found.worker_seconds:
            known += f"; {_time(found.worker_seconds.value)} of worker time"
        say(f"Time: {known}")
    if any(each and each.low is None for row in missing for each in (row.seconds, row.peak_bytes)):
        say("(?): the store has too few runs like these for an interval")
    if (seen := found.detectable) and seen.difference:
        arms = plural(seen.arms, "arm")
        of = "this study's runs" if seen.own else "earlier runs like these"
        say(
            f"Detectable difference at {plural(seen.seeds, 'seed')}, with 80 % power: {seen.difference:.3g} "
            f"{seen.metric} ({arms} after Holm; standard deviation of paired differences "
            f"{seen.sd:.2g}, from {plural(seen.pairs, 'pair')} of {of})"
        )
    elif len({row.parameters for row in found.runs} | {row.label for row in found.runs}) > 1:
        why = "one seed detects none" if seen else "the store has no two arms like these with two seeds in common"
        say(f"Detectable difference: unknown; {why}")


def _print_search(search: dict[str, Any]) -> None:
    arms = f" for each of {search['arms']} arms" if search["arms"] > 1 else ""
    keys = f"{len(search['parameters'])} parameters" if len(search["parameters"]) > 1 else search["parameters"][0]
    how = f"sampler {search['sampler']}, pruner {search['pruner']}"
    proxy = "".join(f", {key} {show(value)}" for key, value in search["proxy"].items())
    say(f"Search: {search['trials']} trials of {keys}{arms}, {how}{proxy}.{_finals(search)} To start it:")
    print(f"  {search['command']}")


def _finals(search: dict[str, Any]) -> str:
    """Return how many runs follow a search."""
    chosen = search["finalists"]
    if chosen is None:
        return ""
    runs = (chosen["count"] + chosen["base"]) * chosen["seeds"] * search["arms"]
    return f" Then {plural(runs, 'run')} of finalists."


def _unknown(missing: Sequence[PlannedRun]) -> str:
    without = sum(row.seconds is None for row in missing)
    runs = plural(len(missing), "run")
    return f"unknown for {without} of {runs}: the store has no run on hardware like this; --probe measures it"


def _estimate(estimate: Estimate | None, words: Callable[[float], str]) -> str:
    """Return an estimate with its interval; with "(?)" where that is unknown, and alone where it rounds to nothing."""
    if estimate is None:
        return "-"
    value = words(estimate.value)
    if estimate.low is None or estimate.high is None:
        return f"{value} (?)"
    low, high = words(estimate.low), words(estimate.high)
    if low == high:
        return value
    unit = high.lstrip("0123456789.")
    if low.lstrip("0123456789.") == unit and unit in ("s", " MiB", " GiB"):  # one unit is enough
        low = low.removesuffix(unit)
    return f"{value} ({low} to {high})"


def _time(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 10 else spell_duration(seconds)


def _new(row: PlannedRun, wide: bool) -> str:
    text = str(row.new or "")
    return text if wide or len(text) <= LONGEST_NEW else text[:LONGEST_NEW] + "..."


def _held(row: PlannedRun) -> str:
    """Return the values that `hold` found for a run, and its deviation from what is held."""
    from titans_lab.run.values import assignment

    solved = (assignment(key, value) for key, value in row.solved.items())
    return " ".join((*solved, f"{row.deviation:+.2%}"))
