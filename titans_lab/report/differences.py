"""Each arm beside the base: the differences by seed, their table and what they come to in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from titans_lab.report import format as shown
from titans_lab.report.arms import Arm, Design
from titans_lab.report.section import Row, Table
from titans_lab.report.tables import factor_names, recorded, spelled
from titans_lab.stats.paired import Difference, Sample, compare
from titans_lab.stats.power import pooled_sd, smallest_difference
from titans_lab.study.metric import Metric
from titans_lab.study.pairing import batches

VERDICTS = ("better", "worse", "inconclusive")


@dataclass(frozen=True, eq=False)
class Pair:
    """An arm, its difference to the base, and that of each of its seeds.

    Attributes:
        arm: The arm.
        found: Over the seeds.
        by_seed: Where the batches are not the base's, to the mean of the base.
    """

    arm: Arm
    found: Difference
    by_seed: dict[int, float]


@dataclass(frozen=True, eq=False)
class Beside:
    """The base, and every other arm of the study beside it.

    Attributes:
        base: What the others are compared with.
        pairs: In the order of the study.
        detectable: The difference that the fewest seeds of a pair find with 80 % power, by the spread of all
            differences; None where these have none.
        elsewhere: Arms that are, or belong to, another baseline of the study, or are judged by another task.
    """

    base: Arm
    pairs: tuple[Pair, ...]
    detectable: float | None
    elsewhere: int


COLUMNS: dict[str, Callable[[Difference], str]] = {
    "pairs": lambda found: f"{found.seeds}" + ("" if found.paired else " (unpaired)"),
    "diverged": lambda found: str(found.diverged),
    "difference": lambda found: shown.signed(found.mean),
    "95\N{NO-BREAK SPACE}% interval": lambda found: _interval(found),
    "p, Holm": lambda found: shown.p_value(found.adjusted),
    "verdict": lambda found: found.verdict,
    "p, sign flips": lambda found: shown.p_value(found.sign_flip),
    "effect, SD": lambda found: shown.signed(found.effect, 1),
    "correlation": lambda found: shown.signed(found.correlation, 2),
}


#: What an arm costs over what the base does: a difference at another cost is not the change's alone.
COSTS = {"parameters, × base": "parameters", "FLOPs a token, × base": "flops_per_token"}
EQUAL = 0.01  # of the base's cost: so near is equal


def beside(design: Design, metric: Metric) -> Beside | None:
    """The arms that stand beside the first baseline; None where there is nothing to compare, or it has no score."""
    if len(design.arms) < 2 or not design.base.scores:
        return None
    base, others = design.base, [arm for arm in design.arms if design.stands_beside(arm)]
    found = compare(_sample(base, base), [_sample(arm, base) for arm in others], metric.direction == "minimize")
    pairs = tuple(Pair(arm, each, _by_seed(arm, base, each)) for arm, each in zip(others, found, strict=True))
    return Beside(base, pairs, _detectable(pairs), len(design.arms) - 1 - len(others)) if pairs else None


def table(compared: Beside, design: Design) -> Table:
    """A row for every arm but the base."""
    rows = [
        Row(
            spelled(pair.arm),
            (*(cell(pair.found) for cell in COLUMNS.values()), *_costs(pair, compared.base)),
            pair.arm.colour,
        )
        for pair in compared.pairs
    ]
    return Table(factor_names(design), (*COLUMNS, *COSTS), tuple(rows), words=("verdict",))


def _costs(pair: Pair, base: Arm) -> Iterator[str]:
    for column in COSTS.values():
        ours, theirs = recorded(pair.arm, column), recorded(base, column)
        if not ours or not theirs:
            yield shown.NONE
        else:
            ratio = ours / theirs
            yield "equal" if abs(ratio - 1) <= EQUAL else f"{ratio:.2f}"


def answer(compared: Beside) -> str:
    """The verdicts in one sentence, with the base's name."""
    labels = {verdict: _labels(compared, verdict) for verdict in VERDICTS}
    found = {verdict: arms for verdict, arms in labels.items() if arms}
    if len(compared.pairs) == 1:
        return _single(compared.pairs[0], compared.base)
    if list(found) == ["inconclusive"]:
        return f"None of {len(compared.pairs)} arms is told from {compared.base.label} by these seeds."
    counts = [f"{len(arms)} {'is' if len(arms) == 1 else 'are'} {verdict}" for verdict, arms in found.items()]
    return f"Of {_arms(compared)} beside {compared.base.label}, {shown.join(counts)}."


def _single(pair: Pair, base: Arm) -> str:
    found = pair.found
    if found.verdict == "inconclusive":
        return f"Inconclusive: {pair.arm.label} is not told from {base.label} by these seeds."
    return f"{pair.arm.label} is {found.verdict} than {base.label}."


def told(compared: Beside | None) -> str:
    """The verdicts in a sentence or two."""
    if compared is None:
        return ""
    if all(pair.found.p is None for pair in compared.pairs):
        return f"Nothing is settled: a test against {compared.base.label} takes two seeds of each with a spread."
    labels = {verdict: _labels(compared, verdict) for verdict in VERDICTS}
    verdicts = "; ".join(f"{verdict}: {shown.join(each)}" for verdict, each in labels.items() if each)
    tests = f"t tests, Holm over {_arms(compared)}"
    return f"Beside {compared.base.label}, {verdicts} ({tests}).{_spoiled(compared)}{_elsewhere(compared)}"


def _labels(compared: Beside, verdict: str) -> list[str]:
    return [pair.arm.label for pair in compared.pairs if pair.found.verdict == verdict]


def _arms(compared: Beside) -> str:
    return shown.plural(len(compared.pairs), "arm")


def _spoiled(compared: Beside) -> str:
    """What diverged seeds forbid to say."""
    diverged = [pair.arm.label for pair in compared.pairs if pair.found.diverged]
    arms = f" With a diverged seed no arm is called better: {shown.join(diverged)}." if diverged else ""
    base = " With a diverged seed of the base no arm is called worse." if compared.base.count("diverged") else ""
    return arms + base


def _elsewhere(compared: Beside) -> str:
    left = shown.plural(compared.elsewhere, "arm")
    return f" The study has other baselines; {left} of theirs are not compared here." if compared.elsewhere else ""


def _sample(arm: Arm, base: Arm) -> Sample:
    return Sample(
        values=arm.by_seed,
        diverged=arm.count("diverged"),
        paired=batches(arm.outcomes[0].run) == batches(base.outcomes[0].run),
    )


def _by_seed(arm: Arm, base: Arm, found: Difference) -> dict[int, float]:
    if found.paired:
        return {seed: arm.by_seed[seed] - value for seed, value in base.by_seed.items() if seed in arm.by_seed}
    assert base.summary
    return {seed: value - base.summary.mean for seed, value in arm.by_seed.items()}


def _detectable(pairs: tuple[Pair, ...]) -> float | None:
    paired = [pair for pair in pairs if pair.found.paired and pair.found.p is not None]
    spread = pooled_sd([list(pair.by_seed.values()) for pair in paired])
    fewest = min((pair.found.seeds for pair in paired), default=1)
    return smallest_difference(spread, fewest, len(pairs)) if spread else None


def _interval(found: Difference) -> str:
    if found.mean is None or found.half_width is None:
        return shown.NONE
    ends = (shown.signed(found.mean + side * found.half_width) for side in (-1, 1))
    return " to ".join(ends) + (" †" if found.given_convergence else "")
