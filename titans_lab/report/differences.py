"""Each arm compared with the baseline: the differences by seed, their table and the verdicts in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from titans_lab.report import format as shown
from titans_lab.report.arms import BASELINE, Arm, Design
from titans_lab.report.section import Row, Table, TableCell, cell
from titans_lab.report.tables import factor_names, recorded, spelled
from titans_lab.stats.paired import Difference, Sample, compare
from titans_lab.stats.power import detectable
from titans_lab.study.metric import Metric
from titans_lab.study.run import batches

VERDICTS = ("better", "worse", "inconclusive")


@dataclass(frozen=True, eq=False)
class ArmDifference:
    """An arm, its mean difference from the baseline, and the difference of each seed.

    Attributes:
        arm: The arm.
        found: Over the seeds.
        by_seed: Differences by seed; from the baseline's mean if the batches are not the baseline's.
    """

    arm: Arm
    found: Difference
    by_seed: dict[int, float]


@dataclass(frozen=True, eq=False)
class Beside:
    """The baseline, and every arm that is compared with it.

    Attributes:
        base: The arm that the others are compared with.
        pairs: In the order of the study.
        detectable: The difference that the fewest seeds of a pair find with 80 % power, by the spread of all
            differences; None where these have none.
        fewest: The fewest seeds of a pair.
        elsewhere: Arms that are, or belong to, another baseline of the study, or are judged by another task.
    """

    base: Arm
    pairs: tuple[ArmDifference, ...]
    detectable: float | None
    fewest: int
    elsewhere: int


COLUMNS: dict[str, Callable[[Difference], str]] = {
    "pairs": lambda found: TableCell(
        f"{found.seeds}" + ("" if found.paired else " (unpaired)"), seeds=found.seeds, paired=found.paired
    ),
    "diverged": lambda found: cell(str, diverged=found.diverged),
    "difference": lambda found: cell(shown.signed, difference=found.mean),
    "95\N{NO-BREAK SPACE}% interval": lambda found: _interval(found),
    "p, Holm": lambda found: cell(shown.p_value, p_holm=found.adjusted),
    "verdict": lambda found: found.verdict,
    "p, sign flips": lambda found: cell(shown.p_value, p_sign_flip=found.sign_flip),
    "effect, SD": lambda found: cell(partial(shown.signed, digits=1), effect_sd=found.effect),
    "correlation": lambda found: cell(partial(shown.signed, digits=2), correlation=found.correlation),
}


#: An arm's cost relative to the baseline's: at another cost, the change alone does not explain a difference.
COSTS = {"parameters, × baseline": "parameters", "FLOPs/token, × baseline": "flops_per_token"}
EQUAL = 0.01  # relative to the baseline's cost: closer is called equal


def beside(design: Design, metric: Metric) -> Beside | None:
    """Return the arms compared with the first baseline; None if there is no other arm or the baseline has no score."""
    if len(design.arms) < 2 or not design.base.scores:
        return None
    base, others = design.base, [arm for arm in design.arms if design.stands_beside(arm)]
    found = compare(_sample(base, base), [_sample(arm, base) for arm in others], metric.direction == "minimize")
    pairs = tuple(ArmDifference(arm, each, _by_seed(arm, base, each)) for arm, each in zip(others, found, strict=True))
    if not pairs:
        return None
    fewest = min(pair.found.seeds for pair in pairs)
    return Beside(base, pairs, _detectable(pairs), fewest, len(design.arms) - 1 - len(others))


def better(compared: Beside | None) -> set[Arm]:
    """Return the arms that the verdict calls better than the baseline."""
    return {pair.arm for pair in compared.pairs if pair.found.verdict == "better"} if compared else set()


def table(compared: Beside, design: Design, metric: Metric) -> Table:
    """Return a table with a row for every arm but the baseline."""
    rows = [
        Row(
            spelled(pair.arm),
            (*(show(pair.found) for show in COLUMNS.values()), *_costs(pair, compared.base)),
            pair.arm.colour,
        )
        for pair in compared.pairs
    ]
    return Table(factor_names(design), (*COLUMNS, *COSTS), tuple(rows), words=("verdict",), metric=metric)


def _costs(pair: ArmDifference, base: Arm) -> Iterator[str]:
    for column in COSTS.values():
        ours, theirs = recorded(pair.arm, column), recorded(base, column)
        yield cell(_times, **{f"{column}_ratio": ours / theirs if ours and theirs else None})


def _times(ratio: float | None) -> str:
    if ratio is None:
        return shown.NONE
    return "equal" if abs(ratio - 1) <= EQUAL else f"{ratio:.2f}"


def answer(compared: Beside) -> str:
    """Return the verdicts in one sentence, with the baseline's name."""
    labels = {verdict: _labels(compared, verdict) for verdict in VERDICTS}
    found = {verdict: arms for verdict, arms in labels.items() if arms}
    if len(compared.pairs) == 1:
        return _single(compared)
    if list(found) == ["inconclusive"]:
        return f"No arm differs significantly from the {base_name(compared)} at {_seeds(compared.pairs)}."
    counts = [f"{len(arms)} {'is' if len(arms) == 1 else 'are'} {verdict}" for verdict, arms in found.items()]
    return f"Of {_arms(compared)} compared with the {base_name(compared)}, {shown.join(counts)}."


def base_name(compared: Beside) -> str:
    """Return the name of the arm that others are compared with, in a sentence."""
    label = compared.base.label
    return label if label == BASELINE else f"{BASELINE} ({label})"


def _seeds(pairs: Sequence[ArmDifference]) -> str:
    counts = {pair.found.seeds for pair in pairs}
    return shown.plural(counts.pop(), "seed") if len(counts) == 1 else f"{min(counts)} to {max(counts)} seeds"


def _single(compared: Beside) -> str:
    (pair,) = compared.pairs
    base, seeds = base_name(compared), _seeds(compared.pairs)
    if pair.found.verdict == "inconclusive":
        return f"{pair.arm.label} does not differ significantly from the {base} at {seeds}."
    return f"{pair.arm.label} is significantly {pair.found.verdict} than the {base} at {seeds}."


def told(compared: Beside | None) -> str:
    """Return the verdicts with the names of the arms, and what limits them."""
    if compared is None:
        return ""
    if all(pair.found.p is None for pair in compared.pairs):
        return f"A test against the {base_name(compared)} needs two seeds of each arm, with different values."
    labels = {verdict: _labels(compared, verdict) for verdict in VERDICTS}
    verdicts = "; ".join(f"{verdict}: {shown.join(each)}" for verdict, each in labels.items() if each)
    tests = f"t tests at 5 %, Holm-adjusted over {_arms(compared)}"
    return f"Compared with the {base_name(compared)}, {verdicts} ({tests}).{_spoiled(compared)}{_elsewhere(compared)}"


def _labels(compared: Beside, verdict: str) -> list[str]:
    return [pair.arm.label for pair in compared.pairs if pair.found.verdict == verdict]


def _arms(compared: Beside) -> str:
    return shown.plural(len(compared.pairs), "arm")


def _spoiled(compared: Beside) -> str:
    """Return what cannot be said because seeds diverged."""
    diverged = [pair.arm.label for pair in compared.pairs if pair.found.diverged]
    arms = f" An arm with a diverged seed is never called better: {shown.join(diverged)}." if diverged else ""
    base = " The baseline has a diverged seed, so no arm is called worse." if compared.base.count("diverged") else ""
    return arms + base


def _elsewhere(compared: Beside) -> str:
    left, verb = shown.plural(compared.elsewhere, "arm"), "is" if compared.elsewhere == 1 else "are"
    words = f" The study has several baselines; {left} of the others {verb} not compared here."
    return words if compared.elsewhere else ""


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
