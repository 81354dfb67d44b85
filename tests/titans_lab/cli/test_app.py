from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from workbench import run

import titans_lab
from titans_lab.cli.app import app

VERBS = [
    "new",
    "schema",
    "plan",
    "verify",
    "bench",
    "sweep",
    "tune",
    "status",
    "serve",
    "logs",
    "cancel",
    "rerun",
    "work",
]
VERBS += [
    "query",
    "fit",
    "generate",
    "report",
    "compare",
    "reproduce",
    "publish",
    "rm",
    "export",
    "compact",
    "doctor",
    "import",
    "eval",
]
HEAVY = "torch duckdb pyarrow plotly pydantic numpy scipy jinja2 yaml"

IMPORTED = f"""
import sys
from titans_lab.cli import main
sys.argv = ["titans-lab", *sys.argv[1:]]
try:
    main()
finally:
    print("heavy:", *(set("{HEAVY}".split()) & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_nothing_heavy(option: str):
    done = run([sys.executable, "-c", IMPORTED, option])
    assert done.stderr.strip() == "heavy:"
    assert done.stdout


def test_all_verbs_are_there():
    names = [(command.name, command.callback) for command in app.registered_commands]
    assert [name or callback.__name__ for name, callback in names if callback] == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does_and_each_option_what_it_means(cli: Callable[..., Any], verb: str):
    import typer

    shown = cli(verb, "--help")
    assert shown.code == 0
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    sentence = command.help.split("\n\n")[0]
    assert sentence.endswith(".")
    assert len(sentence.split()) > 5
    assert " ".join(sentence.split()[:5]) in shown.out
    assert all(parameter.help for parameter in command.params)


def test_the_help_shows_three_commands_that_exist(cli: Callable[..., Any]):
    shown = " ".join(cli("--help").out.split())
    for verb in ("sweep", "report", "query"):
        assert f"titans-lab {verb} " in shown


def test_the_version_is_printed(cli: Callable[..., Any]):
    assert cli("--version") == (0, f"titans-lab {titans_lab.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["sweeep"], ["plan"], ["sweep", "x.yaml", "--max-parallel", "0"], ["query", "--nope"]]
)
def test_a_wrong_use_ends_with_2_and_no_traceback(cli: Callable[..., Any], arguments: list[str]):
    ended = cli(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Usage" in ended.err
    assert "Traceback" not in ended.err


def test_the_module_is_the_command():
    assert run([sys.executable, "-m", "titans_lab", "--version"]).stdout == f"titans-lab {titans_lab.__version__}\n"
