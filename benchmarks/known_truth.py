"""Measure the coverage and the false positives of the statistics on simulated data, as Markdown tables.

It takes a few minutes on one core.

    python benchmarks/known_truth.py                          paired intervals, verdicts and scaling fits on drawn data
    python benchmarks/known_truth.py --factorial              effects of crossed factors alone
    python benchmarks/known_truth.py --points chinchilla.csv  the fit of measured points: columns parameters,tokens,loss

Intervals: how many of 2,000 studies of one arm have the true difference in the 95 % t interval, by number of seeds and
correlation between arms. Verdicts: how many of 2,000 studies of 6 arms, none different from the base, call one better.
Effects: how many of 2,000 factorial studies have the true difference between two levels of the first factor, and the
true interaction of the last two factors, in the 95 % t interval; and how many without any true effect call an effect or
a comparison significant. The standard deviations of the cells are equal, or differ up to 5 times. Fits: how many of 20
draws of 240 runs at Chinchilla's scale and with its noise have each true exponent in the bootstrap interval.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np

from titans_lab.stats.factorial import effects
from titans_lab.stats.paired import compare
from titans_lab.stats.power import smallest_difference
from titans_lab.stats.scaling.checks import held_out, parabola_exponent, parabolas
from titans_lab.stats.scaling.fit import Fit, fit
from titans_lab.stats.scaling.frontier import parameter_exponent
from titans_lab.stats.scaling.law import Law
from titans_lab.stats.scaling.points import Points
from titans_lab.stats.simulate import CHINCHILLA, chinchilla, factorial, study

STUDIES, DRAWS, ARMS = 2000, 20, 6
MEASURES = {
    "alpha": lambda law: law.exponents[0],
    "beta": lambda law: law.exponents[1],
    "a": parameter_exponent,
    "E": lambda law: law.offset,
}


def coverage(seeds: int, correlation: float, generator: np.random.Generator) -> float:
    """Return the share of studies whose interval has the true difference."""
    drawn = (study(seeds, 1, generator, correlation, shift=0.5) for _ in range(STUDIES))
    found = [compare(base, arms)[0] for base, arms in drawn]
    return float(np.mean([abs(each.mean - 0.5) <= each.half_width for each in found]))


def false_better(seeds: int, generator: np.random.Generator) -> tuple[float, float]:
    """Return the share of null studies that call an arm better, with Holm and by the unadjusted p."""
    studies = [compare(*study(seeds, ARMS, generator)) for _ in range(STUDIES)]
    holm = np.mean([any(arm.verdict == "better" for arm in arms) for arms in studies])
    alone = np.mean([any(arm.p < 0.05 and arm.mean < 0 for arm in arms) for arms in studies])
    return float(holm), float(alone)


def show_intervals() -> None:
    print("| seeds | correlation 0 | 0.5 | 0.9 | false better | without Holm | detectable with 80 % power, 6 arms |")
    print("|---|---|---|---|---|---|---|")
    for seeds in (3, 5, 8):
        generator = np.random.default_rng(seeds)
        covered = [f"{coverage(seeds, correlation, generator):.3f}" for correlation in (0.0, 0.5, 0.9)]
        wrong = [f"{share:.3f}" for share in false_better(seeds, generator)]
        print(
            "| " + " | ".join([str(seeds), *covered, *wrong, f"{smallest_difference(1.0, seeds, ARMS):.2f} SD"]) + " |"
        )


def effect_coverage(levels: tuple[int, ...], seeds: int, spread: float, generator: np.random.Generator) -> list[float]:
    """Return the shares of factorial studies whose intervals have a true difference and a true interaction."""
    main, interaction = 0, 0
    for _ in range(STUDIES):
        found = effects(factorial(levels, seeds, generator, spread=spread, shift=0.5))
        first, last = found[0].contrasts[0], found[-1].contrasts[0]
        main += abs(first.mean - 0.5) <= (first.half_width or 0.0)
        interaction += abs(last.mean) <= (last.half_width or 0.0)
    return [main / STUDIES, interaction / STUDIES]


def false_effects(levels: tuple[int, ...], seeds: int, spread: float, generator: np.random.Generator) -> list[float]:
    """Return the shares of null studies with a significant effect, with Holm and without, and with a contrast."""
    studies = [effects(factorial(levels, seeds, generator, spread=spread)) for _ in range(STUDIES)]
    single = [[*each.contrasts, *filter(None, [each.trend])] for found in studies for each in found]
    sure = [any((one.adjusted or 1.0) < 0.05 for one in each) for each in single]
    return [
        float(np.mean([any(each.verdict == "significant" for each in found) for found in studies])),
        float(np.mean([any((each.p or 1.0) < 0.05 for each in found) for found in studies])),
        float(np.mean(np.reshape(sure, (STUDIES, -1)).any(axis=1))),
    ]


def show_effects() -> None:
    heads = "levels | seeds | SD of cells | main effect covered | interaction covered | false effect"
    print(f"\n| {heads} | without Holm | false comparison |")
    print("|---" * 8 + "|")
    for levels, spread, seeds in product(((2, 2), (2, 4), (3, 3), (2, 2, 2)), (1.0, 5.0), (3, 5, 8)):
        generator = np.random.default_rng(seeds)
        shares = effect_coverage(levels, seeds, spread, generator) + false_effects(levels, seeds, spread, generator)
        cells = [" x ".join(map(str, levels)), str(seeds), "equal" if spread == 1 else f"1 to {spread:g}"]
        print(f"| {' | '.join([*cells, *(f'{share:.3f}' for share in shares)])} |", flush=True)


def show_draws() -> None:
    print(f"\n| draw | {' | '.join(MEASURES)} | a by parabolas | largest budget, held out |")
    print("|---" * (len(MEASURES) + 3) + "|")
    hits = dict.fromkeys(MEASURES, 0)
    for draw in range(DRAWS):
        points, flops = chinchilla(np.random.default_rng(draw))
        found = fit(points, seed=draw)
        for name, measure in MEASURES.items():
            hits[name] += measure(CHINCHILLA) in found.interval(measure)
        print(f"| {draw} | {row(found)} | {checks(points, flops)} |")
    print(f"\nTruth in the interval, of {DRAWS} draws: {', '.join(f'{name} {count}' for name, count in hits.items())}")


def row(found: Fit) -> str:
    intervals = (found.interval(measure) for measure in MEASURES.values())
    return " | ".join(f"{each.value:.4f} ({each.low:.4f} to {each.high:.4f})" for each in intervals)


def checks(points: Points, flops: np.ndarray) -> str:
    exponent = parabola_exponent(parabolas(points.x[:, 0], flops, points.loss))
    told = held_out(points, flops, ("parameters", "tokens"))
    return f"{exponent.value if exponent else float('nan'):.4f} | {told.error:+.2%}"


def show_points(path: Path) -> None:
    table = np.genfromtxt(path, delimiter=",", names=True)
    points = Points(np.stack([table["parameters"], table["tokens"]], axis=1), table["loss"], np.arange(len(table)))
    found = fit(points)
    print(f"{len(table)} points\n\n| {' | '.join(MEASURES)} | A | B |\n{'|---' * (len(MEASURES) + 2)}|")
    print(f"| {row(found)} | {' | '.join(f'{value:.1f}' for value in found.law.amplitudes)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=Path, metavar="FILE", help="CSV to fit instead of drawn data")
    parser.add_argument("--factorial", action="store_true", help="simulate factorial studies alone")
    given = parser.parse_args()
    if given.points:
        show_points(given.points)
        return
    if given.factorial:
        show_effects()
        return
    law: Law = CHINCHILLA
    print(
        f"Truth: alpha {law.exponents[0]}, beta {law.exponents[1]}, E {law.offset}, a {parameter_exponent(law):.4f}\n"
    )
    show_intervals()
    show_effects()
    show_draws()


if __name__ == "__main__":
    main()
