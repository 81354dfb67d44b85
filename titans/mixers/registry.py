"""The variants by name: those in the folders of `titans.mixers`, and those that `register` adds. Imports no torch."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Iterator
from dataclasses import MISSING, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from titans.mixers.spec import HybridSpec, MixerSpec

Spec: TypeAlias = MixerSpec | HybridSpec

_added: dict[str, Spec] = {}


def variants() -> tuple[str, ...]:
    """Return the names that `ModelConfig.variant` may have: those of this package, then those of others."""
    return (*_shipped(), *_added)


def spec(variant: str) -> Spec:
    """Return what a variant says about itself. Raise `ValueError` with a near name for an unknown one."""
    found = _shipped().get(variant) or _added.get(variant)
    if found is None:
        near = difflib.get_close_matches(variant, variants(), n=1)
        remedy = f"did you mean {near[0]}?" if near else f"the variants are {', '.join(variants())}"
        raise ValueError(f"variant: there is no {variant!r}; {remedy}")
    return found


def mixer(name: str) -> MixerSpec:
    """Return what a mixer says about itself. Raise `ValueError` for the name of a hybrid or of nothing."""
    found = spec(name)
    if not isinstance(found, MixerSpec):
        raise ValueError(f"{name}: is a pattern of mixers ({', '.join(found.pattern)}), not a mixer")
    return found


def pattern(variant: str) -> tuple[str, ...]:
    """Return the mixers that the blocks of a variant take turns with."""
    return spec(variant).pattern


def settings_classes() -> dict[str, type]:
    """Return the classes of mixers' own settings, by the mixer's name: the sections `model.<mixer>`."""
    specs = (spec(name) for name in variants())
    return {each.name: each.settings for each in specs if isinstance(each, MixerSpec) and each.settings}


def register(added: Spec) -> None:
    """Add a mixer or a hybrid of another package, so that studies, costs, tests and workers know its name.

    Raises:
        ValueError: The name is taken by another specification or names a field of `ModelConfig`; a hybrid's pattern
            has an unknown mixer; the settings lack a default or belong to another mixer.
    """
    if (known := _shipped().get(added.name) or _added.get(added.name)) is not None:
        if known is added:
            return
        raise ValueError(f"{added.name}: another mixer has this name; give yours one of its own")
    _check(added)
    _added[added.name] = added


def unregister(name: str) -> None:
    """Forget a mixer or hybrid that `register` added."""
    del _added[name]


def specs_in(module: ModuleType) -> Iterator[Spec]:
    """Yield the specifications that a module holds as attributes."""
    return (value for value in vars(module).values() if isinstance(value, Spec))


@cache
def _shipped() -> dict[str, Spec]:
    """Import each folder of `titans.mixers`; files beside the folders are what several mixers share."""
    folders = sorted(found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)]) if found.ispkg)
    modules = [import_module(f"titans.mixers.{name}") for name in folders]
    return {found.name: found for module in modules for found in specs_in(module)}


def _check(added: Spec) -> None:
    if not added.name.isidentifier():
        raise ValueError(f"{added.name!r}: a mixer's name is a word of letters, digits and underscores")
    if isinstance(added, HybridSpec):
        for name in added.pattern:
            mixer(name)
        return
    owned = {kind: name for name, kind in settings_classes().items()}
    if added.settings in owned:
        raise ValueError(f"{added.name}: {added.settings.__name__} are the settings of {owned[added.settings]} already")
    for each in fields(added.settings) if added.settings else ():
        if each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"{added.name}: the setting {each.name} has no default")


def canonical_settings(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return mixers' own settings in one order and without those at their defaults, so that equal ones are equal.

    Raises:
        ValueError: One is of no registered class, or two are of the same.
    """
    classes = settings_classes()
    by_class = {type(each): each for each in given}
    if len(by_class) < len(given) or by_class.keys() - classes.values():
        names = ", ".join(sorted(kind.__name__ for kind in classes.values()))
        found = ", ".join(sorted(kind.__name__ for kind in map(type, given)))
        raise ValueError(f"settings: {found} given; wanted is at most one of each of {names}")
    return tuple(by_class[kind] for kind in classes.values() if kind in by_class and by_class[kind] != kind())
