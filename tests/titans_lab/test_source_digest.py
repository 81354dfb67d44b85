from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pasts import finish
from workbench import Workbench, environ

import titans
from titans_lab.environment import environment
from titans_lab.planning.edited import edited_since
from titans_lab.planning.history import read_history
from titans_lab.source_digest import c_code, changed_files, code_of_files, files_digest, python_code, source_digest

LAYER, SCAN = Path("titans/mixers/lmm/layer.py"), Path("titans/ops/neural_memory/cpu/scan.c")


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with a copy of both packages, to edit."""
    root = tmp_path / "copy"
    for package in ("titans", "titans_lab"):
        source = Path(str(titans.__file__)).parent.parent / package
        shutil.copytree(source, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def digest_of(root: Path) -> str:
    source_digest.cache_clear()
    return source_digest(root)


def test_comments_docstrings_and_layout_of_python_do_not_count():
    plain = "class A:\n    x: int = 1\n\n\ndef f(a):\n    return a + 1\n"
    told = (
        '"""M."""\nclass A:\n    "C."\n    x: int = 1  # one\n    "X."\ndef f(a):\n    """F."""\n    return (a\n+ 1)\n'
    )
    assert python_code(told) == python_code(plain)
    assert python_code(plain.replace("+ 1", "+ 2")) != python_code(plain)
    assert python_code(plain.replace("+ 1", "- 1")) != python_code(plain)
    assert python_code('x = "text"') != python_code('x = "other"')


def test_comments_and_layout_of_c_do_not_count_and_texts_do():
    assert c_code("/* a\n b */\nint f(void) {\n  return 1; // one\n}\n") == c_code("int f(void) {\nreturn 1;\n}")
    assert c_code('char *s = "/* a */"; // b') == 'char *s = "/* a */";'
    assert c_code("return 1;") != c_code("return 2;")


@pytest.mark.parametrize(
    ("path", "code", "remark"),
    [(LAYER, "\nADDED = 1\n", "\n# nothing\n"), (SCAN, "\nint added;\n", "\n/* nothing */\n")],
)
def test_an_edit_of_code_gives_another_digest_and_a_remark_does_not(copy: Path, path: Path, code: str, remark: str):
    before, files = digest_of(copy), files_digest(copy)
    assert before == source_digest()
    (copy / path).write_text((copy / path).read_text() + remark)
    files_digest.cache_clear()
    assert (digest_of(copy), files_digest(copy) == files) == (before, False)
    (copy / path).write_text((copy / path).read_text() + code)
    assert digest_of(copy) != before


def test_a_module_that_python_cannot_parse_counts_as_its_text(copy: Path):
    before = digest_of(copy)
    (copy / LAYER).write_text("def half(")
    first = digest_of(copy)
    (copy / LAYER).write_text("def half(a")
    assert len({before, first, digest_of(copy)}) == 3


def test_fields_that_do_not_change_numbers_are_left_out(copy: Path):
    before = digest_of(copy)
    edit(copy / "titans_lab" / "report" / "words.py", "from __future__", "ADDED = 1\nfrom __future__")
    assert digest_of(copy) == before


def test_runs_without_a_digest_and_runs_of_this_code_are_not_warned_of(bench: Workbench):
    runs = bench.runs("seeds=3")
    finish(runs[:1], bench.store)
    finish(runs[1:2], bench.store, environment())
    assert edited_since(read_history(bench.store).finished_envs(runs)) == ""
    finish(runs[2:], bench.store, {"source_digest": "0" * 16, "files_digest": "0" * 16})
    words = edited_since(read_history(bench.store).finished_envs(runs))
    assert words.startswith("other source code than this trained 1 of 3 fin")
    assert edited_since(read_history(bench.store).finished_envs(runs[:2])) == ""


def test_verbs_warn_of_runs_of_edited_code_and_refuse_them_if_strict(bench: Workbench, copy: Path):
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "titans_lab", arguments[0], str(bench.study), *arguments[1:]]
        command += ["--store", str(bench.store.root)]
        env = environ(PYTHONPATH=str(copy))
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=copy, env=env)

    def state() -> dict[Path, bytes]:
        return {
            path: path.read_bytes() for path in bench.root.rglob("*") if path.is_file() and copy not in path.parents
        }

    with bench.study.open("a") as study:
        study.write("search: {space: {train.lr: {choice: [0.001, 0.002]}}, trials: 1}\n")
    assert bench.call("sweep").returncode == bench.call("tune").returncode == 0
    rows = bench.ask("select source_digest from runs")
    assert {row["source_digest"] for row in rows} == {source_digest()}
    edit(copy / LAYER, '"""', '"""Another docstring. ')
    assert call("plan", "--strict").stderr == ""
    (copy / LAYER).write_text((copy / LAYER).read_text() + "\nADDED = 1\n")
    words = "other source code than this trained 1 of 1 finished run, and no version says so; "
    kept = state()
    for verb in ("plan", "sweep", "report", "tune"):
        refused = call(verb, "--strict")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"--strict: {words}" in refused.stderr
    assert state() == kept
    for verb in ("plan", "sweep", "report", "tune"):
        warned = call(verb)
        assert warned.returncode == 0
        assert f"warning: {words}" in warned.stderr
    assert source_digest() in next(bench.store.root.glob("reports/*.html")).read_text()


def test_changed_files_are_those_whose_code_differs(tmp_path: Path):
    folder = tmp_path / "titans"
    folder.mkdir()
    for name in ("kept.py", "commented.py", "edited.py", "gone.py"):
        (folder / name).write_text("x = 1\n")
    before = code_of_files(tmp_path)
    (folder / "commented.py").write_text("x = 1  # one\n")
    (folder / "edited.py").write_text("x = 2\n")
    (folder / "gone.py").unlink()
    (folder / "new.py").write_text("x = 1\n")
    assert changed_files(before, tmp_path) == ["titans/edited.py", "titans/gone.py", "titans/new.py"]
