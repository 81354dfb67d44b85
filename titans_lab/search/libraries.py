"""Optuna's samplers and pruners by their names in a study, with their options checked against Optuna's."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from types import UnionType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler

from titans_lab.errors import UserError, nearest
from titans_lab.run.values import typed
from titans_lab.study.terms import Chosen, Dimension

optuna.logging.set_verbosity(optuna.logging.ERROR)

SAMPLERS: dict[str, type[BaseSampler]] = {
    "tpe": TPESampler,
    "gp": GPSampler,
    "cmaes": CmaEsSampler,
    "nsga2": NSGAIISampler,
    "random": RandomSampler,
    "qmc": QMCSampler,
    "grid": RandomSampler,  # every point comes from the grid
}
PRUNERS: dict[str, type[BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,
    "asha": SuccessiveHalvingPruner,
    "hyperband": HyperbandPruner,
}
#: Samplers whose points do not depend on the results of earlier ones.
DESIGNS = ("grid", "qmc")
#: Samplers that learn from pruned trials; the others learn from trials with values alone.
SEES_STOPPED = ("tpe",)
SIMPLE: dict[str, type | None] = {"bool": bool, "int": int, "float": float, "str": str, "None": None}
UNUSED = ("sigma0", "restart_strategy", "inc_popsize", "warn_independent_sampling", "warn_asynchronous_seeding")
LARGEST_SEED = 2**32


def check_choices(sampler: Chosen, pruner: Chosen) -> None:
    """Raise UserError, with file and line, for an unknown option or a value that Optuna refuses."""
    _check(sampler, "sampler", SAMPLERS)
    _check(pruner, "pruner", PRUNERS)


def base_seed(sampler: Chosen, name: str) -> int:
    """Return the seed of a search: the sampler's option `seed`, or else a hash of the search's name."""
    given = sampler.options.get("seed")
    return given.value if given and given.value is not None else int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


def seed_of(base: int, number: int) -> int:
    """Return the seed of one trial, which is the same for a coordinator that starts again."""
    return int(hashlib.sha256(f"{base} {number}".encode()).hexdigest()[:8], 16)


def make_sampler(chosen: Chosen, seed: int, conditional: bool) -> BaseSampler:
    """Return a sampler for one trial, which learns about the others from Optuna's study.

    Args:
        chosen: The sampler's name and options.
        seed: The seed of its draws.
        conditional: Whether some parameters exist only for some values of others.
    """
    options = {key: setting.value for key, setting in chosen.options.items()}
    if chosen.name == "tpe" and conditional and options.get("multivariate", True):
        options = {"group": True} | options
    return _made(SAMPLERS[chosen.name], options | {"seed": seed})


def make_pruner(chosen: Chosen) -> BasePruner:
    """Return a pruner."""
    return _made(PRUNERS[chosen.name], {key: setting.value for key, setting in chosen.options.items()})


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return a parameter as Optuna's distribution."""
    if dimension.kind == "choice":
        return CategoricalDistribution(dimension.choices)
    if dimension.kind == "int":
        low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
        return IntDistribution(low, high, log=dimension.log, step=step)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def design(chosen: Chosen, space: Sequence[Dimension], seed: int) -> Iterator[dict[str, Any]]:
    """Yield the points of a sampler of `DESIGNS` in order, without regard to conditions. Only a grid ends."""
    if chosen.name == "grid":
        points = list(itertools.product(*(dimension.values or () for dimension in space)))
        points.sort(key=lambda point: hashlib.sha256(f"{seed} {point}".encode()).digest())
        yield from (dict(zip((each.key for each in space), point, strict=True)) for point in points)
        return
    sampler = make_sampler(chosen, seed, conditional=False)
    study = optuna.create_study(sampler=sampler)
    distributions = {dimension.key: distribution(dimension) for dimension in space}
    while True:
        trial = study.ask(distributions)
        yield dict(trial.params)
        study.tell(trial, 0.0)


def _check(chosen: Chosen, what: str, classes: Mapping[str, Any]) -> None:
    allowed = options_of(classes[chosen.name])
    for name, option in chosen.options.items():
        key = f"search.{what}.{name}"
        if name not in allowed:
            known = nearest(name, tuple(allowed)) if allowed else f"{chosen.name} has none; remove it"
            raise UserError(f"{option.place}: {key}: no option of {chosen.name}; {known}")
        try:
            typed(allowed[name], option.value)
        except ValueError as error:
            raise UserError(f"{option.place}: {key}: {error}") from error
    seed = chosen.options.get("seed")
    if seed and seed.value is not None and not 0 <= seed.value < LARGEST_SEED:
        raise UserError(f"{seed.place}: search.{what}.seed: {seed.value} is not from 0 to {LARGEST_SEED - 1}")
    try:
        _made(classes[chosen.name], {name: option.value for name, option in chosen.options.items()})
    except ValueError as error:
        raise UserError(f"{chosen.place}: search.{what}: {chosen.name}: {error}") from error
    if chosen.name == "cmaes" and find_spec("cmaes") is None:
        raise UserError(f"{chosen.place}: search.{what}: cmaes needs a package: pip install cmaes")


def options_of(cls: Any) -> dict[str, Any]:
    """Return the options of a sampler or a pruner that a file can hold, by name, with their types."""
    if cls is NopPruner:
        return {}
    found = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        given = parameter.annotation
        hint = simple_type(given if isinstance(given, str) else inspect.formatannotation(given))
        if hint is not None and name not in UNUSED:
            found[name] = hint
    return found


def simple_type(annotation: str) -> Any:
    """Return the type that an annotation such as "int | None" names, or None where a file cannot hold it."""
    parts = [part.strip() for part in annotation.split("|")]
    if not all(re.fullmatch(r"\w+", part) and part in SIMPLE for part in parts):
        return None
    hint: type | UnionType | None = SIMPLE[parts[0]]
    for part in parts[1:]:
        hint = hint | SIMPLE[part]  # type: ignore[operator]
    return hint


def _made(make: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about options that are experimental or old: the study asked for them
        return make(**options)
