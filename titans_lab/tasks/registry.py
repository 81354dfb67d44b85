"""The tasks by name: those in the folders of `titans_lab.tasks` and those that `register` adds. It needs no torch.

Each folder is a task: its `__init__.py` has a subclass of `TaskSettings` with a `NAME`. A family of tasks, such as the
six of MAD, may share a folder with several such classes.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from titans_lab.tasks.settings import TaskSettings

_added: dict[str, type[TaskSettings]] = {}


def all_settings() -> dict[str, type[TaskSettings]]:
    """Return the settings of every task by its name: those in folders in alphabetical order, then registered ones."""
    return _shipped() | _added


def register(settings: type[TaskSettings]) -> None:
    """Add a task of another package, so that studies, costs, records and workers know its `NAME`.

    Raises:
        ValueError: Another task has that name.
    """
    if all_settings().get(settings.NAME, settings) is not settings:
        raise ValueError(f"{settings.__module__}: another task is named {settings.NAME!r}; choose another NAME")
    _added[settings.NAME] = settings


def unregister(name: str) -> None:
    """Forget a task that `register` added."""
    del _added[name]


def tasks_in(module: ModuleType) -> Iterator[type[TaskSettings]]:
    """Yield the task settings that a module defines, without imported ones and common base classes."""
    for found in vars(module).values():
        own = isinstance(found, type) and issubclass(found, TaskSettings) and found.__module__ == module.__name__
        if own and "NAME" in vars(found):
            yield found


@cache
def _shipped() -> dict[str, type[TaskSettings]]:
    """Import the torch-free half of every folder, once."""
    folders = [each.name for each in pkgutil.iter_modules([str(Path(__file__).parent)]) if each.ispkg]
    modules = [import_module(f"titans_lab.tasks.{folder}") for folder in folders]
    return {settings.NAME: settings for module in modules for settings in tasks_in(module)}
