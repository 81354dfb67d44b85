"""The tasks by name, without torch: those of the folders in `titans_lab/tasks`, and those that a plugin registers.

A folder with a `settings.py` is a task: the subclass of `TaskSettings` in it that has a `NAME`. A family of tasks, such
as the six of MAD, may share a folder and has several such classes.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from titans_lab.tasks.settings import TaskSettings

_TASKS: dict[str, type[TaskSettings]] = {}


def all_settings() -> dict[str, type[TaskSettings]]:
    """Return the settings of every task by the task's name: the folders' tasks in alphabetical order, then plugins'."""
    _discover()
    return dict(_TASKS)


def register(settings: type[TaskSettings]) -> None:
    """Make a task known by its `NAME`.

    Raises:
        ValueError: Another task has that name.
    """
    _discover()
    _add(settings)


def unregister(name: str) -> None:
    """Forget a task that `register` added."""
    del _TASKS[name]


@cache
def _discover() -> None:
    """Import the settings of every folder, once."""
    for folder in sorted(file.parent.name for file in Path(__file__).parent.glob("*/settings.py")):
        module = importlib.import_module(f"titans_lab.tasks.{folder}.settings")
        for found in vars(module).values():
            if isinstance(found, type) and issubclass(found, TaskSettings) and found.__module__ == module.__name__:
                _add(found)


def _add(settings: type[TaskSettings]) -> None:
    if "NAME" not in vars(settings):
        return  # what the tasks of a family have in common
    if _TASKS.setdefault(settings.NAME, settings) is not settings:
        raise ValueError(f"{settings.__module__}: another task is named {settings.NAME!r}; choose another NAME")
