"""How often a cost that was measured lies inside the interval that `plan` gives: 95 of 100 is right.

    python benchmarks/calibration.py --store /tmp/calibration     # trains the runs that the store does not have yet

A sweep trains models of random variants, widths, depths, lengths and batches, each with two seeds. Then, many times,
some runs are known, as after a study that came before, and one of the rest is predicted from them. A prediction is by
the law where no known run has its shape, and else by those that have it.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from titans_lab.planning.expected import Experience
from titans_lab.planning.history import Past, read_history
from titans_lab.stats.law import Estimate
from titans_lab.store.store import Store

DRAWN = {
    "model.variant": ("lmm", "mac", "mag", "mal", "transformer", "gated_deltanet"),
    "model.dim": (32, 48, 64, 96, 128),
    "model.n_layers": (1, 2, 3),
    "model.memory.depth": (1, 2),
    "train.seq_len": (64, 128, 256),
    "train.batch_size": (2, 4, 8),
}
STEPS = 20
FEWEST_KNOWN = 4


def study(shapes: int, draw: random.Random) -> str:
    """Return a study of models drawn at random, all different, of a few steps each."""
    drawn: dict[tuple[object, ...], None] = {}
    while len(drawn) < shapes:
        drawn[tuple(map(draw.choice, DRAWN.values()))] = None
    columns = dict(zip(DRAWN, zip(*drawn, strict=True), strict=True))
    lengths, batches = columns["train.seq_len"], columns["train.batch_size"]
    columns["train.tokens"] = tuple(STEPS * a * b for a, b in zip(lengths, batches, strict=True))
    rows = "\n".join(f"  {key}: [{', '.join(map(str, values))}]" for key, values in columns.items())
    return f"question: How well are costs predicted?\nbase: {{data: {{valid_bytes: 8192}}}}\nzip:\n{rows}\nseeds: 2\n"


def held_out(past: Sequence[Past], draws: int, draw: random.Random) -> list[tuple[str, float, Estimate]]:
    """Return what was measured, and what was predicted from some of the other runs, for many runs drawn at random.

    Args:
        past: The runs.
        draws: The number of runs that are predicted.
        draw: Source of random numbers.
    """
    found: list[tuple[str, float, Estimate]] = []
    for _ in range(draws):
        new, *rest = draw.sample(past, len(past))
        known = rest[: draw.randint(FEWEST_KNOWN, len(rest))]
        assert new.hardware
        assert new.step_seconds
        assert new.peak_bytes
        cost = Experience(known).cost(new.config, new.hardware)
        measured = {"time": new.step_seconds * new.config.train.steps, "memory": float(new.peak_bytes)}
        for name, estimate in (("time", cost.seconds), ("memory", cost.peak_bytes)):
            if estimate:
                found.append((f"{name}, {'same shape' if estimate.same_shape else 'law'}", measured[name], estimate))
    return found


def line(name: str, predictions: Sequence[tuple[float, Estimate]]) -> str:
    """Return a row: predictions, those with an interval, how many of 100 lie inside, and how wide the interval is."""
    judged = [(measured, one.low, one.high) for measured, one in predictions if one.low is not None and one.high]
    inside = sum(low <= measured <= high for measured, low, high in judged)
    width = median(high / low for _, low, high in judged) if judged else float("nan")
    share = 100 * inside / len(judged) if judged else float("nan")
    return f"| {name} | {len(predictions)} | {len(judged)} | {share:.1f} | {width:.2f} |"


def main() -> None:
    """Train what is missing, and print a row for each kind of prediction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="a folder; what it has is not trained again")
    parser.add_argument("--shapes", type=int, default=50, help="models of different shapes, two runs each")
    parser.add_argument("--draws", type=int, default=2000, help="predictions")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    given.store.mkdir(parents=True, exist_ok=True)
    file = given.store / "calibration.yaml"
    file.write_text(study(given.shapes, draw))
    sweep = [sys.executable, "-m", "titans_lab", "sweep", str(file), "--store", str(given.store / "results")]
    subprocess.run([*sweep, "--no-verify"], check=True)
    past = [each for each in read_history(Store(given.store / "results")).finished if each.step_seconds]
    found = held_out(past, given.draws, draw)
    print(
        "| prediction | number | with an interval | of 100 inside | upper end over lower end |\n|---|---|---|---|---|"
    )
    for name in sorted({name for name, _, _ in found}):
        print(line(name, [(measured, one) for kind, measured, one in found if kind == name]))


if __name__ == "__main__":
    main()
