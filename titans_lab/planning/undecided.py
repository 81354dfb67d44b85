"""Warn where a study has too few seeds to decide its question."""

from __future__ import annotations

from titans_lab.planning.detectable import Foreseen
from titans_lab.quantities import plural
from titans_lab.stats.power import smallest_difference

PROPOSED = range(3, 101)  # the numbers of seeds that a warning proposes
WIDE = 10.0  # standard deviations of a paired difference; seeds that detect only larger ones are too few


def undecided(seeds: int, arms: int, found: Foreseen | None, effect: float | None) -> str:
    """Return a warning that the seeds are too few, with the number that suffices, or "" where they are enough.

    Args:
        seeds: The seeds of each arm.
        arms: The number of arms that are compared with a baseline.
        found: What the seeds can detect, as far as the store tells.
        effect: The smallest difference that is worth finding; None where the study does not say.
    """
    if arms < 1:
        return ""
    if seeds < 2:
        remedy = f"set seeds: {_enough(1.0, arms, WIDE)}"
        return f"one seed decides nothing, since a test needs at least two of each arm; {remedy}"
    if found and found.difference and effect:
        return _for_effect(found, effect) if found.difference > effect else ""
    widths = smallest_difference(1.0, seeds, arms) or 0.0
    return _in_deviations(seeds, arms, widths) if widths > WIDE else ""


def _for_effect(found: Foreseen, effect: float) -> str:
    """Return that the seeds find larger differences than the effect alone, and how many would find it."""
    needed = _enough(found.sd, found.arms, effect)
    remedy = f"set seeds: {needed}" if needed else f"more than {PROPOSED[-1]} seeds would be needed"
    return (
        f"{found.seeds} seeds find a difference of {found.difference:.3g} with 80 % power, and `effect` asks for "
        f"{effect:g} ({found.metric}); {remedy}"
    )


def _in_deviations(seeds: int, arms: int, widths: float) -> str:
    """Return the warning where the spread is unknown, in standard deviations."""
    enough = _enough(1.0, arms, WIDE) or PROPOSED[-1]
    tests = f"80 % power, {plural(arms, 'arm')} after Holm"
    return (
        f"{seeds} seeds find only differences above {widths:.2g} standard deviations of a paired difference ({tests}), "
        f"and {enough} seeds find {smallest_difference(1.0, enough, arms):.2g}; set seeds: {enough}"
    )


def _enough(sd: float, arms: int, difference: float) -> int | None:
    """Return the fewest seeds that find a difference; None where the most that are proposed do not."""
    return next((seeds for seeds in PROPOSED if (smallest_difference(sd, seeds, arms) or 0.0) <= difference), None)
