"""Judge the runs of a search by their objectives and bounds, from a commit or from the metrics so far."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.run.derived import DERIVED
from titans_lab.run.metric import COSTS, Metric
from titans_lab.store.arrow import Row
from titans_lab.study.terms import SearchTerms

#: The column of the metrics that shows a figure while a run trains.
ON_THE_WAY = {"loss": "valid_loss", "score": "valid_score", "train_loss": "loss"}
VALIDATIONS = 20  # validations of a run for a pruner, where the study does not set `log.valid_every`


@dataclass(frozen=True)
class Judge:
    """The metrics and bounds by which the trials of an arm are judged."""

    metrics: tuple[Metric, ...]
    terms: SearchTerms

    @property
    def prunes(self) -> bool:
        """Return whether a pruner looks at runs while they train."""
        return self.terms.pruner.name != "none"

    def logged(self, config: RunConfig, validates: bool) -> RunConfig:
        """Return a run's configuration with the validations that its pruner needs.

        Args:
            config: The configuration of the run.
            validates: Whether the study sets `log.valid_every`.

        Raises:
            UserError: The study sets it such that the pruner would see nothing.
        """
        if not self.prunes or ON_THE_WAY[self.metrics[0].column] == "loss":
            return config
        if not validates:
            every = max(1, config.train.steps // VALIDATIONS)
            return dataclasses.replace(config, log=dataclasses.replace(config.log, valid_every=every))
        if not 0 < config.log.valid_every < config.train.steps:
            raise UserError(
                f"{self.terms.pruner.place}: search.pruner: no run would be pruned, since log.valid_every is "
                f"{config.log.valid_every} and a run has {config.train.steps} steps; "
                f"set it from 1 to {config.train.steps - 1}, or remove it"
            )
        return config

    def values(self, config: RunConfig, summary: Mapping[str, Any]) -> tuple[float, ...] | None:
        """Return the objectives of a trial's run on the validation part, or None where it did not record them all."""
        return self._finite((validated(metric.column) for metric in self.metrics), config, summary)

    def tested(self, config: RunConfig, summary: Mapping[str, Any]) -> tuple[float, ...] | None:
        """Return the objectives of a finalist's run, on the test part, or None where it did not record one of them."""
        return self._finite((metric.column for metric in self.metrics), config, summary)

    def _finite(
        self, columns: Iterable[str], config: RunConfig, summary: Mapping[str, Any]
    ) -> tuple[float, ...] | None:
        found = [figure_of(column, config, summary) for column in columns]
        return tuple(found) if all(value is not None and math.isfinite(value) for value in found) else None  # type: ignore[arg-type]

    def limits(self, config: RunConfig, summary: Mapping[str, Any]) -> dict[str, float]:
        """Return by how much each bound is violated, where its figure is known."""
        found = {limit: figure_of(validated(limit.name), config, summary) for limit in self.terms.constraints}
        return {limit.name: limit.excess(value) for limit, value in found.items() if value is not None}

    def reports(self, config: RunConfig, rows: Sequence[Row]) -> dict[int, float]:
        """Return the reports for a pruner: the first objective, by the number of validations or of lines of metrics."""
        column = ON_THE_WAY[self.metrics[0].column]
        every = config.log.every if column == "loss" else config.log.valid_every
        seen = [(row["step"], row[column]) for row in rows if row["step"] and row[column] is not None]
        return {math.ceil(step / every): value for step, value in seen}

    def mean(self, by_seed: Sequence[Sequence[float]]) -> tuple[float, ...]:
        """Return the mean of each objective over seeds."""
        return tuple(math.fsum(column) / len(column) for column in zip(*by_seed, strict=True))


def judge_of(terms: SearchTerms, metrics: tuple[Metric, ...]) -> Judge:
    """Return the judge of an arm. Raise UserError where its pruner cannot see the first metric while a run trains."""
    if terms.pruner.name != "none" and metrics[0].column not in ON_THE_WAY:
        seen = ", ".join(ON_THE_WAY)
        raise UserError(
            f"{terms.pruner.place}: search.pruner: {metrics[0].name} is known only when a run has ended; "
            f"remove the pruner, or search by one of {seen}"
        )
    return Judge(metrics, terms)


def validated(column: str) -> str:
    """Return the column of the view `runs` that has a figure on the validation part, where that is another one."""
    return {"loss": "valid_loss", "score": "valid_score"}.get(column, column)


def figure_of(column: str, config: RunConfig, summary: Mapping[str, Any]) -> float | None:
    """Return a figure of a run, or None where it is not known."""
    if column in COSTS:
        return float(DERIVED[column](config))
    value = summary.get(column)
    return None if value is None else float(value)
