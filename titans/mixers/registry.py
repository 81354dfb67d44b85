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

#: The order of the families in tables and lists.
FAMILIES = ("Titans", "test-time training", "attention", "recurrent network", "linear recurrence", "hybrid")

_added: dict[str, Spec] = {}


def variants() -> tuple[str, ...]:
    """Return the names that `ModelConfig.variant` may have, family by family; those that `register` added come last."""
    return (*_shipped(), *_added)


def spec(variant: str) -> Spec:
    """Return the specification of a variant. Raise `ValueError`, with the nearest name, if there is none."""
    found = _shipped().get(variant) or _added.get(variant)
    if found is None:
        near = difflib.get_close_matches(variant, variants(), n=1)
        remedy = f"did you mean {near[0]}?" if near else f"the variants are {', '.join(variants())}"
        raise ValueError(f"variant: there is no {variant!r}; {remedy}")
    return found


def mixer(name: str) -> MixerSpec:
    """Return the specification of a mixer. Raise `ValueError` for a hybrid, and for an unknown name."""
    found = spec(name)
    if not isinstance(found, MixerSpec):
        raise ValueError(f"{name}: is a pattern of mixers ({', '.join(found.pattern)}), not a mixer")
    return found


def pattern(variant: str) -> tuple[str, ...]:
    """Return the mixers that the blocks of a variant take turns with."""
    return spec(variant).pattern


def settings_classes() -> dict[str, type]:
    """Return the classes of mixers' own settings by the mixer's name: the sections `model.<mixer>` of a study."""
    specs = (spec(name) for name in variants())
    return {each.name: each.settings for each in specs if isinstance(each, MixerSpec) and each.settings}


def canonical_settings(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return mixers' own settings in one order and without those at their defaults, so that equal ones are equal.

    Raises:
        ValueError: One is of no mixer's class, or two are of the same class.
    """
    classes = settings_classes()
    by_class = {type(each): each for each in given}
    if len(by_class) < len(given) or by_class.keys() - classes.values():
        names = ", ".join(sorted(kind.__name__ for kind in classes.values()))
        found = ", ".join(sorted(kind.__name__ for kind in map(type, given)))
        raise ValueError(f"settings: {found} given; give at most one of each of {names}")
    return tuple(by_class[kind] for kind in classes.values() if kind in by_class and by_class[kind] != kind())


def register(added: Spec) -> None:
    """Add a mixer or a hybrid of another package. Studies, costs, models and verification then know its name.

    Call this before a configuration with the new name is made, in every process that makes one.

    Raises:
        ValueError: The name is taken or is no word; a hybrid's pattern has an unknown mixer; a setting has no default,
            or the class of the settings belongs to another mixer.
    """
    known = _shipped().get(added.name) or _added.get(added.name)
    if known is added:
        return
    if known is not None:
        raise ValueError(f"{added.name}: another mixer has this name; choose another one")
    if not added.name.isidentifier():
        raise ValueError(f"{added.name!r}: the name of a mixer is a word of letters, digits and underscores")
    if isinstance(added, HybridSpec):
        for name in added.pattern:
            mixer(name)
    elif added.settings is not None:
        _check_settings(added.name, added.settings)
    _added[added.name] = added


def unregister(name: str) -> None:
    """Forget a mixer or hybrid that `register` added."""
    del _added[name]


def specs_in(module: ModuleType) -> Iterator[Spec]:
    """Yield the specifications that a module holds as attributes."""
    return (value for value in vars(module).values() if isinstance(value, Spec))


@cache
def _shipped() -> dict[str, Spec]:
    """Import the folders of this package. The files next to the folders are shared by several mixers."""
    folders = (found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)]) if found.ispkg)
    modules = [import_module(f"titans.mixers.{name}") for name in folders]
    specs = {found for module in modules for found in specs_in(module)}
    return {found.name: found for found in sorted(specs, key=lambda spec: (FAMILIES.index(spec.family), spec.name))}


def _check_settings(name: str, settings: Any) -> None:
    owned = {kind: mixer for mixer, kind in settings_classes().items()}
    if settings in owned:
        raise ValueError(f"{name}: {settings.__name__} is the class of the settings of {owned[settings]}; make another")
    for each in fields(settings):
        if each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"{name}: the setting {each.name} has no default; give it one")
