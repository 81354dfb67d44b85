"""Every command that the docs and the studies' headers show is one that the program understands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from pages import ROOT, Found, arguments, commands

from titans_lab.cli.app import app
from titans_lab.errors import UserError
from titans_lab.study.study import load_study

PROGRAM: Any = typer.main.get_command(app)
COMMANDS = commands()


def parsed(command: Found) -> dict[str, Any]:
    """Return the parameters of a command, which is not run."""
    words, context, program = arguments(command), None, PROGRAM
    while True:
        context = program.make_context(program.name, words, parent=context)
        if not hasattr(program, "commands"):
            return context.params
        _, program, words = program.resolve_command(context, context.protected_args + context.args)


def test_commands_are_found():
    assert len(COMMANDS) > 100
    assert {found.place.partition("/")[0] for found in COMMANDS} >= {"docs", "studies"}


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_it_parses(command: Found):
    parsed(command)


@pytest.mark.parametrize("command", [c for c in COMMANDS if re.search(r" studies/\w+\.yaml \S*=", c.text)], ids=str)
def test_its_overrides_fit_the_study(command: Found):
    """A study file of the repository takes the overrides that a command gives it."""
    given = parsed(command)
    load_study(ROOT / given["study"], given["overrides"])


def test_the_table_of_verbs_is_the_program():
    said = (ROOT / "README.md").read_text() + (ROOT / "docs" / "commands.md").read_text()
    verbs = set(PROGRAM.commands) - {"data"} | {f"data {name}" for name in PROGRAM.commands["data"].commands}
    assert {verb for verb in verbs if f"`titans-lab {verb}" not in said} == set()
