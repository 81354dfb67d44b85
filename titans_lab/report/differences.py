"""Compare each arm with its baseline: the differences by seed, and their table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from titans_lab.report import format as shown
from titans_lab.report.arms import BASELINE, Arm, Design, phrase
from titans_lab.report.section import Row, Table, TableCell, cell
from titans_lab.report.tables import factor_names, recorded, spelled
from titans_lab.run.metric import Metric
from titans_lab.run.run import batches
from titans_lab.stats.paired import Difference, Sample, compare_pairs
from titans_lab.stats.power import detectable


@dataclass(frozen=True, eq=False)
class ArmDifference:
    """An arm, its mean difference from its baseline, and the difference of each seed.

    Attributes:
        arm: The arm.
        base: The baseline that it is compared with.
        found: The mean difference over the seeds and its test.
        by_seed: The difference of each seed. It is from the baseline's mean if the arm saw other batches.
    """

    arm: Arm
    base: Arm
    found: Difference
    by_seed: dict[int, float]


@dataclass(frozen=True, eq=False)
class ComparedArms:
    """Every arm with its baseline.

    Attributes:
        base: What the baselines have in common, in words.
        pairs: The compared arms, in the order of the study.
        detectable: The difference that `fewest` seeds detect with 80 % power, given the pooled spread of the
            differences; None where there is no spread.
        fewest: The fewest seeds of a pair.
        not_compared: The number of arms that have no baseline with their task and data, or whose baseline has no score.
    """

    base: str
    pairs: tuple[ArmDifference, ...]
    detectable: float | None
    fewest: int
    not_compared: int

    @property
    def testable(self) -> bool:
        """Return whether any pair has seeds enough for a test."""
        return any(pair.found.p is not None for pair in self.pairs)

    def with_verdict(self, verdict: str) -> list[ArmDifference]:
        """Return the pairs with a verdict."""
        return [pair for pair in self.pairs if pair.found.verdict == verdict]


INTERVAL = "95\N{NO-BREAK SPACE}% interval"
MAIN = ("difference", INTERVAL, "verdict")  # the columns that a narrow screen shows first
COLUMNS: dict[str, Callable[[Difference], str]] = {
    "pairs": lambda found: TableCell(
        f"{found.seeds}" + ("" if found.paired else " (unpaired)"), seeds=found.seeds, paired=found.paired
    ),
    "diverged": lambda found: cell(str, diverged=found.diverged),
    "difference": lambda found: cell(shown.signed, difference=found.mean),
    INTERVAL: lambda found: _interval(found),
    "p, Holm": lambda found: cell(shown.p_value, p_holm=found.adjusted),
    "verdict": lambda found: found.verdict,
    "p, sign flips": lambda found: cell(shown.p_value, p_sign_flip=found.sign_flip),
    "effect, SD": lambda found: cell(partial(shown.signed, digits=1), effect_sd=found.effect),
    "correlation": lambda found: cell(partial(shown.signed, digits=2), correlation=found.correlation),
}


#: An arm's cost relative to the baseline's: at another cost, the change alone does not explain a difference.
COSTS = {"parameters, × baseline": "parameters", "FLOPs/token, × baseline": "flops_per_token"}
EQUAL = 0.01  # relative difference of costs below which they are called equal


def compare_arms(design: Design, metric: Metric) -> ComparedArms | None:
    """Return each arm compared with its baseline; None if there is no other arm, or no baseline has a score."""
    bases, found = design.bases, [(arm, base) for arm, base in design.pairs if base.scores]
    if not found:
        return None
    samples = [(sample_of(base, base), sample_of(arm, base)) for arm, base in found]
    differences = compare_pairs(samples, metric.direction == "minimize")
    pairs = tuple(
        ArmDifference(arm, base, each, _by_seed(arm, base, each))
        for (arm, base), each in zip(found, differences, strict=True)
    )
    fewest = min(pair.found.seeds for pair in pairs)
    return ComparedArms(_name(bases), pairs, _detectable(pairs), fewest, len(design.arms) - len(bases) - len(pairs))


def sample_of(arm: Arm, base: Arm) -> Sample:
    """Return the scores of an arm by seed, and whether its batches are those of `base`."""
    same = batches(arm.outcomes[0].run) == batches(base.outcomes[0].run)
    return Sample(values=arm.by_seed, diverged=arm.count("diverged"), paired=same)


def better(compared: ComparedArms | None) -> set[Arm]:
    """Return the arms that the verdict calls better than their baseline."""
    return {pair.arm for pair in compared.with_verdict("better")} if compared else set()


def table(compared: ComparedArms, design: Design, metric: Metric) -> Table:
    """Return a table with a row for every arm but the baselines."""
    rows = [
        Row(
            spelled(pair.arm),
            (*(show(pair.found) for show in COLUMNS.values()), *_costs(pair)),
            pair.arm.colour,
        )
        for pair in compared.pairs
    ]
    return Table(factor_names(design), (*COLUMNS, *COSTS), tuple(rows), words=("verdict",), metric=metric, main=MAIN)


def _costs(pair: ArmDifference) -> Iterator[str]:
    for column in COSTS.values():
        ours, theirs = recorded(pair.arm, column), recorded(pair.base, column)
        yield cell(_times, **{f"{column}_ratio": ours / theirs if ours and theirs else None})


def _times(ratio: float | None) -> str:
    if ratio is None:
        return shown.NONE
    return "equal" if abs(ratio - 1) <= EQUAL else f"{ratio:.2f}"


def _name(bases: list[Arm]) -> str:
    """Return the name of the baseline in a sentence: the levels that all baselines share."""
    first = bases[0]
    shared = {
        name: value for name, value in first.factors.items() if all(base.factors[name] == value for base in bases)
    }
    label = phrase(shared)
    return f"{BASELINE} ({label})" if label else BASELINE


def _by_seed(arm: Arm, base: Arm, found: Difference) -> dict[int, float]:
    if found.paired:
        return {seed: arm.by_seed[seed] - value for seed, value in base.by_seed.items() if seed in arm.by_seed}
    assert base.summary
    return {seed: value - base.summary.mean for seed, value in arm.by_seed.items()}


def _detectable(pairs: tuple[ArmDifference, ...]) -> float | None:
    paired = [pair for pair in pairs if pair.found.paired]
    fewest = min((pair.found.seeds for pair in paired), default=0)
    found = detectable([list(pair.by_seed.values()) for pair in paired], fewest, len(pairs))
    return found.difference if found else None


def _interval(found: Difference) -> TableCell:
    if found.mean is None or found.half_width is None:
        return TableCell(shown.NONE, difference_low=None, difference_high=None)
    low, high = (found.mean + side * found.half_width for side in (-1, 1))
    mark = " †" if found.given_convergence else ""
    return TableCell(f"[{shown.signed(low)}, {shown.signed(high)}]{mark}", difference_low=low, difference_high=high)
