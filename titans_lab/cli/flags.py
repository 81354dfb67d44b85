"""Help pages that show flags without a type: `--json`, not `--json <bool>`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Verb(TyperCommand):
    """A command with such a help page."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, flags without a type."""
        return untyped(super().get_params(ctx))


class Verbs(TyperGroup):
    """A group of commands with such a help page."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, flags without a type."""
        return untyped(super().get_params(ctx))


def untyped(parameters: list[Any]) -> list[Any]:
    """Return the parameters after taking the type from those that are flags."""
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return parameters
