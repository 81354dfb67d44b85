"""Commands whose flags stand without a type in `--help`, and which take --json and --csv for --format json and csv."""

from __future__ import annotations

import itertools
from typing import Any

from typer.core import TyperCommand, TyperGroup

from titans_lab.errors import UserError

FORM = "form"  # the parameter of a verb behind --format
SHORT = {"--csv": "csv", "--json": "json"}


class Verb(TyperCommand):
    """A command with such a help page, and with the short flags where it has the parameter `form`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, flags without a type."""
        return untyped(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line, in which --csv and --json stand for a format.

        Raises:
            UserError: The command line asks for two formats.
        """
        if not any(each.name == FORM for each in self.get_params(ctx)):
            return super().parse_args(ctx, args)
        end = args.index("--") if "--" in args else len(args)
        written = [f"--format={SHORT[each]}" if each in SHORT else each for each in args[:end]]
        asked = {each.partition("=")[2] for each in written if each.startswith("--format=")}
        asked |= {form for option, form in itertools.pairwise(written) if option == "--format"}
        if len(asked) > 1:
            raise UserError(f"{ctx.info_name}: two formats, {' and '.join(sorted(asked))}; give one")
        return super().parse_args(ctx, [*written, *args[end:]])


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
