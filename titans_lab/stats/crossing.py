"""The cells of a study with several crossed factors, and the matched cells from which an effect is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from titans_lab.stats.paired import Sample

Cell = tuple[int, ...]  # the index of the level of each factor
FEWEST_OF_A_TREND = 3  # the fewest levels of a factor with a trend


@dataclass(frozen=True)
class CrossedFactor:
    """A factor and its levels, of which the first is the baseline."""

    name: str
    levels: tuple[Any, ...]

    @property
    def has_trend(self) -> bool:
        """Return whether the levels are numbers, and enough of them for a slope."""
        return len(self.levels) >= FEWEST_OF_A_TREND and all(type(level) in (int, float) for level in self.levels)

    @property
    def by_ratio(self) -> bool:
        """Return whether all levels are positive, so that a slope is one per doubling."""
        return bool(min(self.levels) > 0)


@dataclass(frozen=True, eq=False)
class Matched:
    """The cells from which an effect is computed.

    Attributes:
        levels: The indices of the levels that take part, for each factor of the effect.
        cells: The cells.
        means: `[levels of each factor ..., seeds]`: the values, averaged over the combinations of the other factors.
        seeds: The seeds that have a value in all of the cells.
    """

    levels: tuple[tuple[int, ...], ...]
    cells: tuple[Cell, ...]
    means: np.ndarray
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Crossing:
    """Two or more factors, and the results of the seeds of each combination of their levels.

    Attributes:
        factors: The factors.
        cells: The combinations that the study has. Any other combination is not part of the study.
    """

    factors: tuple[CrossedFactor, ...]
    cells: Mapping[Cell, Sample]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of levels of each factor."""
        return tuple(len(factor.levels) for factor in self.factors)

    def crosses(self, axes: Sequence[int]) -> bool:
        """Return whether the study has all combinations of at least two levels of each of the factors `axes`."""
        present = np.zeros((*self.shape, 1), bool)
        for cell in self.cells:
            present[cell] = True
        return _whole(_front(present, axes)[..., 0]) is not None

    def matched(self, axes: Sequence[int]) -> Matched | None:
        """Return the cells for the effect of the factors `axes`; None if there are none, or no seed has them all.

        A combination of the other factors counts if each of its cells has a value for some seed. If no combination
        does, the level that lacks the largest share of its cells is left out, as long as two levels stay.
        """
        values, seeds = self._values
        if not seeds:
            return None
        front = _front(values, axes)
        chosen = _whole(~np.isnan(front).all(axis=-1))
        if chosen is None:
            return None
        part = front[np.ix_(*chosen, np.arange(len(seeds)))]
        known = ~np.isnan(part).any(axis=tuple(range(part.ndim - 1)))
        if not known.any():
            return None
        numbers = _front(np.arange(np.prod(self.shape)).reshape(*self.shape, 1), axes)[..., 0][np.ix_(*chosen)]
        return Matched(
            levels=tuple(tuple(map(int, each)) for each in chosen[:-1]),
            cells=tuple(tuple(map(int, np.unravel_index(number, self.shape))) for number in numbers.flat),
            means=part[..., known].mean(axis=-2),
            seeds=tuple(seed for seed, whole in zip(seeds, known, strict=True) if whole),
        )

    @cached_property
    def _values(self) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return the values `[levels of each factor ..., seeds]`, nan where there is none, and the seeds."""
        seeds = tuple(sorted({seed for sample in self.cells.values() for seed in sample.values}))
        values = np.full((*self.shape, len(seeds)), np.nan)
        for cell, sample in self.cells.items():
            values[cell] = [sample.values.get(seed, np.nan) for seed in seeds]
        return values, seeds


def _front(values: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Return `[levels of axes ..., combinations of the others, seeds]` of `[levels of each factor ..., seeds]`."""
    moved = np.moveaxis(values, axes, range(len(axes)))
    return moved.reshape(*moved.shape[: len(axes)], -1, values.shape[-1])


def _whole(present: np.ndarray) -> tuple[np.ndarray, ...] | None:
    """Return the indices of the levels that stay, and last those of the combinations that have all of them.

    Args:
        present: `[levels ..., combinations]`: which cells there are.
    """
    chosen = [np.arange(size) for size in present.shape]
    while True:
        part = present[np.ix_(*chosen)]
        *axes, _ = range(part.ndim)
        if (whole := part.all(axis=tuple(axes))).any():
            return (*chosen[:-1], np.flatnonzero(whole))
        lacking = [
            (float(np.mean(~part.take(place, axis))), axis, place)
            for axis in axes
            for place in range(part.shape[axis])
            if part.shape[axis] > 2
        ]
        if not lacking:
            return None
        _, axis, place = max(lacking)
        chosen[axis] = np.delete(chosen[axis], place)
