"""How often the statistics find a truth that is known: markdown tables, in about a minute on one core.

    python benchmarks/known_truth.py                          paired intervals, verdicts and scaling fits on drawn data
    python benchmarks/known_truth.py --points chinchilla.csv  the fit of measured points: columns parameters,tokens,loss

Intervals: how many of 2,000 studies of one arm have the true difference in the 95 % t interval, by number of seeds and
correlation between arms. Verdicts: how many of 2,000 studies of 6 arms, none different from the base, call one better.
Fits: how many of 20 draws of 240 runs at Chinchilla's scale and with its noise have each true exponent in the bootstrap
interval.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from titans_lab.stats.paired import compare
from titans_lab.stats.power import smallest_difference
from titans_lab.stats.scaling.checks import held_out, parabola_exponent, parabolas
from titans_lab.stats.scaling.fit import Fit, fit
from titans_lab.stats.scaling.frontier import parameter_exponent
from titans_lab.stats.scaling.law import Law
from titans_lab.stats.scaling.points import Points
from titans_lab.stats.simulate import CHINCHILLA, chinchilla, study

STUDIES, DRAWS, ARMS = 2000, 20, 6
MEASURES = {
    "alpha": lambda law: law.exponents[0],
    "beta": lambda law: law.exponents[1],
    "a": parameter_exponent,
    "E": lambda law: law.offset,
}


def coverage(seeds: int, correlation: float, generator: np.random.Generator) -> float:
    """Share of studies whose interval has the true difference."""
    drawn = (study(seeds, 1, generator, correlation, shift=0.5) for _ in range(STUDIES))
    found = [compare(base, arms)[0] for base, arms in drawn]
    return float(np.mean([abs(each.mean - 0.5) <= each.half_width for each in found]))


def false_better(seeds: int, generator: np.random.Generator) -> tuple[float, float]:
    """Share of null studies that call an arm better: with Holm, and by the unadjusted p."""
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
    path = parser.parse_args().points
    if path:
        show_points(path)
        return
    law: Law = CHINCHILLA
    print(
        f"Truth: alpha {law.exponents[0]}, beta {law.exponents[1]}, E {law.offset}, a {parameter_exponent(law):.4f}\n"
    )
    show_intervals()
    show_draws()


if __name__ == "__main__":
    main()
