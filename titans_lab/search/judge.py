"""What a search judges runs by: the figures of objectives and bounds, of a commit or on the way there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from titans_lab.errors import UserError
from titans_lab.store.arrow import Row
from titans_lab.study.config import RunConfig
from titans_lab.study.derived import DERIVED
from titans_lab.study.metric import COSTS, Metric
from titans_lab.study.terms import SearchTerms

#: The column of the metrics that shows a figure on its way.
ON_THE_WAY = {"loss": "valid_loss", "score": "valid_score", "train_loss": "loss"}
VALIDATIONS = 20  # of a run, where a pruner wants them and the study says nothing


@dataclass(frozen=True)
class Judge:
    """What the trials of an arm are judged by."""

    metrics: tuple[Metric, ...]
    terms: SearchTerms

    @property
    def prunes(self) -> bool:
        """Whether a pruner looks at runs on their way."""
        return self.terms.pruner.name != "none"

    def logged(self, config: RunConfig, said: bool) -> RunConfig:
        """A run's configuration, logged so that its pruner sees it on its way.

        Args:
            config: Of the run.
            said: Whether the study says how often to validate.

        Raises:
            UserError: It says so, and so that the pruner would see nothing.
        """
        if not self.prunes or ON_THE_WAY[self.metrics[0].column] == "loss":
            return config
        if not said:
            every = max(1, config.train.steps // VALIDATIONS)
            return dataclasses.replace(config, log=dataclasses.replace(config.log, valid_every=every))
        if not 0 < config.log.valid_every < config.train.steps:
            raise UserError(
                f"{self.terms.pruner.place}: search.pruner: sees nothing of a run, for log.valid_every is "
                f"{config.log.valid_every} and a run has {config.train.steps} steps; set it below, or remove it"
            )
        return config

    def values(self, config: RunConfig, summary: Mapping[str, Any]) -> tuple[float, ...] | None:
        """The objectives of a run; None where it did not record one."""
        found = [figure_of(metric.column, config, summary) for metric in self.metrics]
        return tuple(found) if all(value is not None and math.isfinite(value) for value in found) else None  # type: ignore[arg-type]

    def limits(self, config: RunConfig, summary: Mapping[str, Any]) -> dict[str, float]:
        """By how much each bound is violated, of those whose figure is known."""
        found = {limit: figure_of(limit.name, config, summary) for limit in self.terms.constraints}
        return {limit.name: limit.excess(value) for limit, value in found.items() if value is not None}

    def reports(self, config: RunConfig, rows: Sequence[Row]) -> dict[int, float]:
        """What a pruner sees of a run: its first objective by the count of validations, or of lines of metrics."""
        column = ON_THE_WAY[self.metrics[0].column]
        every = config.log.every if column == "loss" else config.log.valid_every
        seen = [(row["step"], row[column]) for row in rows if row["step"] and row[column] is not None]
        return {math.ceil(step / every): value for step, value in seen}

    def mean(self, by_seed: Sequence[Sequence[float]]) -> tuple[float, ...]:
        """Of each objective over seeds."""
        return tuple(math.fsum(column) / len(column) for column in zip(*by_seed, strict=True))


def judge_of(terms: SearchTerms, metrics: tuple[Metric, ...]) -> Judge:
    """What an arm is judged by. UserError where a pruner cannot see its first metric on the way."""
    if terms.pruner.name != "none" and metrics[0].column not in ON_THE_WAY:
        seen = ", ".join(ON_THE_WAY)
        raise UserError(
            f"{terms.pruner.place}: search.pruner: {metrics[0].name} is known at the end of a run alone; "
            f"remove the pruner, or search by one of {seen}"
        )
    return Judge(metrics, terms)


def figure_of(column: str, config: RunConfig, summary: Mapping[str, Any]) -> float | None:
    """A figure of a run; None where it is not known."""
    if column in COSTS:
        return float(DERIVED[column](config))
    value = summary.get(column, summary.get("loss") if column == "score" else None)
    return None if value is None else float(value)
