"""Every command that the docs and the studies' headers show is one that the program understands."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
from pages import ROOT, Found, arguments, commands

from titans_lab.cli.app import app, hoisted
from titans_lab.study.study import load_study

PROGRAM: Any = typer.main.get_command(app)
COMMANDS = commands()


def parsed(command: Found) -> dict[str, Any]:
    """Return the parameters of a command, which is not run; a verb alone only has to exist."""
    words, program, name = hoisted(arguments(command)), PROGRAM, ""
    while words and words[0] in ("--allow-plugins", "--with-plugin"):
        words = words[2 if words[0] == "--with-plugin" else 1 :]
    while hasattr(program, "commands"):
        name, *words = words
        program = program.commands[name]
    return program.make_context(name, words).params if words else {}


def test_commands_are_found():
    """The search for commands has not gone blind."""
    places = [found.place for found in COMMANDS]
    assert sum(place.startswith("docs/") for place in places) > 60
    assert sum(place.startswith("studies/") for place in places) > 20
    assert sum(place.startswith("README.md") for place in places) > 5


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_it_parses(command: Found):
    parsed(command)


@pytest.mark.parametrize("command", [c for c in COMMANDS if re.search(r" studies/\w+\.yaml \S*=", c.text)], ids=str)
def test_its_overrides_fit_the_study(command: Found):
    """A study file of the repository takes the overrides that a command gives it."""
    given = parsed(command)
    load_study(ROOT / given["study"], given["overrides"])


def test_the_readme_names_every_verb():
    readme = (ROOT / "README.md").read_text()
    assert [verb for verb in PROGRAM.commands if not re.search(rf"`{verb}\b|titans-lab {verb}\b", readme)] == []
