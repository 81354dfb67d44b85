"""Choose the models, baselines and lengths of a bench. This module needs no torch."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from titans.mixers import variants
from titans.models.config import ModelConfig, effective
from titans_lab.errors import UserError, nearest
from titans_lab.run.config import RunConfig
from titans_lab.run.identity import labels, read_words
from titans_lab.run.values import show
from titans_lab.study.loader import parse
from titans_lab.study.study import Study, read_study

PEER = "titans-pytorch"
BASELINES = (*variants(), PEER)
#: The study that is measured by default.
DEFAULT = "grid: {model.variant: [lmm, mac, mag, mal], train.seq_len: [256, 1024]}"


class Case(NamedTuple):
    """A configuration whose training step is timed."""

    model: ModelConfig
    precision: str
    batch: int
    length: int
    kernel: str


@dataclasses.dataclass(frozen=True)
class Pair:
    """A case and its baseline, at the same precision, batch size and length.

    Attributes:
        label: The values in which the case differs from the others, besides its length.
        case: The case.
        against: The name of the baseline, one of `BASELINES`.
        baseline: The configuration of the baseline. For `PEER`, the model whose memory is replaced by theirs.
    """

    label: str
    case: Case
    against: str
    baseline: ModelConfig


def default_study(overrides: Sequence[str]) -> Study:
    """Return the study `DEFAULT` with some overrides. Raise UserError as from `load_study`."""
    return read_study(parse(DEFAULT, lambda line: "the default of bench"), Path("bench"), overrides)


def cases(configs: Iterable[RunConfig], lengths: Sequence[int], batch: int | None) -> list[Case]:
    """Return the distinct cases in order. `lengths` and `batch` replace those of the configurations where given."""
    distinct: dict[tuple[Any, ...], Case] = {}
    for config in configs:
        train = config.train
        for length in lengths or [train.seq_len]:
            case = Case(config.model, train.precision, batch or train.batch_size, length, config.speed.kernel)
            distinct.setdefault((str(effective(config.model)), *case[1:]), case)
    return list(distinct.values())


def paired(found: Sequence[Case], against: str) -> list[Pair]:
    """Return each case with its baseline. Raise UserError where there is no such baseline."""
    _check(against)
    words = labels([_words(case) for case in found])
    return [
        Pair(label, case, against, _baseline(case.model, against)) for label, case in zip(words, found, strict=True)
    ]


def _words(case: Case) -> dict[str, str]:
    training = {"train.precision": case.precision, "train.batch_size": show(case.batch), "speed.kernel": case.kernel}
    return read_words(case.model) | training


def _check(against: str) -> None:
    if against not in BASELINES:
        near = nearest(against, BASELINES)
        raise UserError(f"--against {against}: no such baseline; {near}")
    if against == PEER and importlib.util.find_spec("titans_pytorch") is None:
        remedy = f"pip install {PEER}, or measure against a variant, such as transformer"
        raise UserError(f"--against {PEER}: that package is not installed; {remedy}")


def _baseline(model: ModelConfig, against: str) -> ModelConfig:
    try:
        return dataclasses.replace(model, variant="lmm" if against == PEER else against)
    except ValueError as error:
        raise UserError(f"--against {against}: {error}") from error
