"""The provenance of the numbers: data, machines and versions, and their differences between runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from titans_lab.quantities import plural
from titans_lab.report.data import Material, RunResult, one_split
from titans_lab.report.format import duration, join, short
from titans_lab.run import derived

#: The columns of the view `runs`, and their names on the page.
RECORDED = {
    "data_source": "data",
    "data_hash": "data, SHA-256",
    "python": "Python",
    "torch": "torch",
    "commit": "commit",
    "source_digest": "source digest",
    "host": "host",
    "device_name": "device",
}
#: The columns that should have one value in a study, and the consequence of several.
ONE_OF = {
    "device_name": "devices: speeds are not comparable, and losses may differ in the last digits",
    "torch": "versions of torch: losses may differ in the last digits",
    "commit": "commits: check that no change between them affects the numbers",
    "source_digest": "states of the source code: an edit between them may have changed the numbers",
}


@dataclass(frozen=True)
class Origin:
    """A recorded property, its values with the number of runs that have each."""

    name: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Totals:
    """The cost of a study's runs so far, in seconds of all workers, and the planned cost of all runs."""

    wall_seconds: float
    tokens: int
    planned_tokens: int
    flops: float
    planned_flops: float


def origins(material: Material) -> list[Origin]:
    """Return the recorded properties of the runs."""
    return [
        Origin(name, tuple((value, count) for value, count in _counted(material, column).most_common()))
        for column, name in RECORDED.items()
        if _counted(material, column)
    ]


def warnings(material: Material) -> list[str]:
    """Return what makes the runs less comparable than they look, a sentence each."""
    digests = {outcome.result.source_digest for outcome in material.outcomes if outcome.result.commit}
    same_code = len(digests) == 1 and None not in digests
    mixed = [
        f"The runs mix {len(values)} {meaning} ({join(sorted(values))})."
        for column, meaning in ONE_OF.items()
        if len(values := _counted(material, column)) > 1 and not (column == "commit" and same_code)
    ]
    runs = [outcome.run for outcome in material.outcomes]
    if runs and not one_split(runs):
        mixed.append("The runs differ in task, data or split: their scores are not comparable.")
    if left_out := material.study.left_out:
        words = "is left out: its configuration is" if left_out == 1 else "are left out: their configurations are"
        mixed.append(f"{plural(left_out, 'run')} {words} of another version of titans-lab, or of plugins not loaded.")
    return mixed + [
        f"A record of the store cannot be read and is left out: {each}." for each in material.evidence.damage
    ]


def data_note(material: Material) -> str:
    """Return a caveat about the default text if a run used it."""
    configs = [outcome.run.config for outcome in material.outcomes]
    if not any(config.task.name == "text" and config.data.path is None for config in configs):
        return ""
    return (
        "The text is the source of Python's standard library. Another Python version is another corpus, with another "
        "hash; losses on the two are not comparable."
    )


def cost(material: Material) -> list[tuple[str, str]]:
    """Return what the study has cost so far, and what was predicted."""
    results = [outcome.result for outcome in material.outcomes]
    found = spent(material)
    timed = sum(result.wall_seconds is not None for result in results)
    return [
        (duration(found.wall_seconds), f"worker time of {plural(timed, 'run')}{_predicted(results)}"),
        (short(found.tokens), f"training tokens, of {short(found.planned_tokens)} planned"),
        (short(found.flops), f"training FLOPs, of {short(found.planned_flops)} planned"),
    ]


def spent(material: Material) -> Totals:
    """Return the cost of the study's runs so far, and of all that it plans."""
    results = [outcome.result for outcome in material.outcomes]
    configs = [outcome.run.config for outcome in material.outcomes]
    return Totals(
        wall_seconds=sum(result.wall_seconds or 0.0 for result in results),
        tokens=sum(result.tokens or 0 for result in results),
        planned_tokens=sum(map(derived.tokens, configs)),
        flops=sum((result.tokens or 0) * (result.flops_per_token or 0) for result in results),
        planned_flops=sum(map(derived.flops, configs)),
    )


def _predicted(results: Sequence[RunResult]) -> str:
    """Return a phrase that compares the cost with the prediction at launch, for the runs that had one."""
    known = [each for each in results if each.wall_seconds is not None and each.predicted_seconds is not None]
    if not known:
        return " (no prediction: the store had no similar runs)" if results else ""
    expected, taken = (sum(getattr(each, name) for each in known) for name in ("predicted_seconds", "wall_seconds"))
    if len(known) == len(results):
        return f", of {duration(expected)} predicted"
    return f"; {duration(expected)} predicted for {plural(len(known), 'run')}, which took {duration(taken)}"


def _counted(material: Material, column: str) -> Counter[str]:
    values = (getattr(outcome.result, column) for outcome in material.outcomes)
    return Counter(str(value) for value in values if value)
