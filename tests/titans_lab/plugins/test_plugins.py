"""Plugins by themselves: what is read, what is executed and when, and what a run's id knows of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.plugins.example import write_example
from titans_lab.plugins.source import find

SPEC = """
from titans.mixers.spec import MixerSpec
COSTS = dict(parameters=len, multiply_adds=len, state_size=len)
MIXER = MixerSpec(name="{name}", summary="", source="", layer="x:y", state="x:y", **COSTS)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder of the test's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("TITANS_LAB_PLUGINS", raising=False)
    return tmp_path


def loaded(folder: Path, *before: str, code: str = "print(sorted(added()))") -> subprocess.CompletedProcess[str]:
    """Load a plugin in a process of its own; what one process loads stays loaded."""
    lines = [
        "import sys; from pathlib import Path",
        "from titans.mixers import registry",
        "from titans_lab.plugins.consent import allow_all",
        "from titans_lab.plugins.loading import load, load_inherited, plugins_of",
        "from titans_lab.plugins.source import find",
        "shipped = set(registry.variants())",
        "added = lambda: set(registry.variants()) - shipped",
        *before,
        f"load(find({str(folder)!r}, Path('/')))",
        code,
    ]
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)


def test_nothing_is_executed_without_consent(home: Path) -> None:
    (home / "mine.py").write_text(f"open({str(home / 'ran')!r}, 'w')\n")
    ended = loaded(home / "mine.py")
    assert "which you have not allowed (mine.py; 1 lines)" in ended.stderr
    assert find("mine.py", home).digest in ended.stderr
    assert not (home / "ran").exists()


def test_consent_is_for_a_content_and_not_for_a_path(home: Path) -> None:
    (home / "mine.py").write_text(SPEC.format(name="mine"))
    config = home / "config/titans-lab/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[plugins]\nallow = ["{find("mine.py", home).digest}"]\n')
    assert loaded(home / "mine.py").stdout == "['mine']\n"
    (home / "mine.py").write_text(SPEC.format(name="other"))
    assert "which you have not allowed" in loaded(home / "mine.py").stderr


@pytest.mark.parametrize(
    ("written", "message"),
    [("[plugins", "cannot be read as TOML"), ("[plugins]\nallow = 3", "not a list of hashes"), ("plugins = 3", "TOML")],
)
def test_a_broken_configuration_file_is_named(home: Path, written: str, message: str) -> None:
    (home / "mine.py").write_text(SPEC.format(name="mine"))
    config = home / "config/titans-lab/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(written)
    assert f"{config}: " in (stderr := loaded(home / "mine.py").stderr)
    assert message in stderr


def test_planning_imports_no_torch(home: Path) -> None:
    folder = write_example(str(home / "my_mixer"))
    assert loaded(folder, "allow_all()", code="print('torch' in sys.modules)").stdout == "False\n"


@pytest.mark.parametrize(
    ("source", "place", "fault"),
    [
        ("x = 1\nraise RuntimeError('broken')", "mine.py:2", "RuntimeError: broken"),
        ("import no_such_module", "mine.py:1", "ModuleNotFoundError"),
        ("x = (\n", "mine.py:1", "SyntaxError"),
        ("import sys\nsys.exit(3)", "mine.py:2", "SystemExit: 3"),
        ("x = 1", "mine.py", "offers no mixer and no task"),
        (SPEC.format(name="lmm"), "mine.py", "another mixer has this name"),
        (SPEC.format(name="two words"), "mine.py", "the name of a mixer is a word"),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_line_and_leaves_nothing(
    home: Path, source: str, place: str, fault: str
) -> None:
    (home / "mine.py").write_text(source)
    watched = "try: load(find(" + repr(str(home / "mine.py")) + ", Path('/')))\nexcept ValueError as e: print(e)"
    ended = loaded(write_example(str(home / "other")), "allow_all()", watched)
    assert f"{home / place}: " in ended.stdout
    assert fault in ended.stdout
    assert ended.stdout.endswith("['other']\n")


def test_a_child_process_loads_what_was_loaded_and_nothing_that_has_changed(home: Path) -> None:
    (home / "mine.py").write_text(SPEC.format(name="mine"))
    seen = loaded(home / "mine.py", "allow_all()", code="import os; print(os.environ['TITANS_LAB_PLUGINS'])").stdout
    assert json.loads(seen) == [[str(home / "mine.py"), "mine", find("mine.py", home).digest]]
    environment = os.environ | {"TITANS_LAB_PLUGINS": seen}
    code = (
        "from titans.mixers import registry; from titans_lab.plugins.loading import load_inherited; "
        "load_inherited(); print('mine' in registry.variants())"
    )
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout == "True\n"
    (home / "mine.py").write_text(SPEC.format(name="mine") + "\n")
    ended = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert "the plugin has changed since the study was planned" in ended.stderr


def test_an_edited_plugin_takes_the_place_of_the_former_one(home: Path) -> None:
    (home / "mine.py").write_text(SPEC.format(name="mine"))
    edit = f"file = Path({str(home / 'mine.py')!r}); file.write_text(file.read_text().replace('mine', 'new'))"
    again = f"{edit}; load(find({str(home / 'mine.py')!r}, Path('/'))); print(sorted(added()))"
    assert loaded(home / "mine.py", "allow_all()", code=again).stdout == "['new']\n"


def test_the_digest_is_of_all_modules_and_of_no_test(home: Path) -> None:
    folder = write_example(str(home / "my_mixer"))
    first = find("my_mixer", home).digest
    (folder / "test_my_mixer.py").write_text("")
    assert find("my_mixer", home).digest == first
    (folder / "layer.py").write_text("")
    assert find("my_mixer", home).digest != first


def test_a_run_is_asked_for_the_plugins_that_it_uses(home: Path) -> None:
    folder = write_example(str(home / "my_mixer"))
    asked = "print(plugins_of(['lmm'], 'text'), list(plugins_of(['lmm', 'my_mixer'], 'text')))"
    assert loaded(folder, "allow_all()", code=asked).stdout == "{} ['my_mixer']\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.py", "no such file or folder"),
        ("empty", "without __init__.py"),
        ("my mixer.py", "cannot name a plugin"),
        ("/", "without __init__.py"),  # and no disk is searched for its files
        ("pipes", "pipes/layer.py: cannot be read: is a device or a pipe, not a file"),
    ],
)
def test_a_path_that_is_no_plugin_is_named(home: Path, name: str, message: str) -> None:
    (home / "empty").mkdir()
    (home / "pipes").mkdir()
    (home / "pipes" / "__init__.py").write_text("")
    os.mkfifo(home / "pipes" / "layer.py")
    (home / "my mixer.py").write_text("")
    with pytest.raises(UserError, match=message):
        find(name, home)


def test_an_example_overwrites_nothing_and_needs_a_name_that_a_mixer_can_have(home: Path) -> None:
    write_example(str(home / "mine"))
    for name, message in (("mine", "is there already"), ("lmm", "is a mixer already"), ("My-Mixer", "cannot name")):
        with pytest.raises(UserError, match=message):
            write_example(str(home / name))
    assert sorted(path.name for path in home.iterdir()) == ["mine"]
