"""Checks that several configurations need."""

from __future__ import annotations

from typing import Any


def at_least(config: Any, least: int, *names: str) -> None:
    """Raise `ValueError` for the first of these fields whose value is below `least`; null is allowed."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise ValueError(f"{name}: {value} is below {least}")


def at_most(config: Any, most: int, *names: str) -> None:
    """Raise `ValueError` for the first of these fields whose value is above `most`; null is allowed."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value > most:
            raise ValueError(f"{name}: {value} is above {most}")
