"""Records of another form in a store: every verb names them, and does its work on the others."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from workbench import Workbench

from titans_lab.store.files import read_json, write_json

#: A record of the first run or of the study, the key of a value in it, and what stands there instead.
STRANGE = {
    "a list for a mapping": ("run.json", ("config",), []),
    "an unknown variant": ("run.json", ("config", "model", "variant"), "mamba-9"),
    "an unknown task": ("run.json", ("config", "task", "name"), "chess"),
    "text for a number": ("run.json", ("config", "model", "dim"), "wide"),
    "text for a seed": ("run.json", ("seed",), "0"),
    "text for a figure": ("status.json", ("summary", "loss"), "low"),
    "no files": ("status.json", ("files",), []),
    "a commit of tomorrow's kind": ("status.json", ("state",), "distilled"),
}
VERBS: list[tuple[tuple[str, ...], set[int]]] = [
    (("status",), {0}),
    (("status", "--state", "done", "--where", "seed >= 0"), {0}),
    (("query", "select run_id, state, runs.loss from runs join metrics using (run_id)"), {0}),
    (("report",), {0}),
    (("report", "STUDY"), {0}),
    (("report", "--format", "json"), {0}),
    (("compare", "RUN", "OTHER"), {0, 2}),
    (("plan", "STUDY"), {0}),
    (("status", "STUDY"), {0}),
    (("fit", "STUDY"), {0, 2}),
    (("logs", "RUN"), {0}),
    (("eval", "RUN"), {2}),
    (("export", "-o", "x.tar.gz"), {0}),
    (("compact",), {0}),
    (("rm", "--state", "oom", "--yes"), {0}),
    (("doctor",), {3}),
]


@pytest.fixture
def bench(swept: Any, tmp_path: Path) -> Workbench:
    """A copy of what was swept."""
    shutil.copytree(swept.bench.root, tmp_path / "swept")
    return Workbench(tmp_path / "swept")


@pytest.mark.parametrize("how", STRANGE)
def test_every_verb_does_its_work_beside_a_strange_record(
    how: str, cli: Any, swept: Any, bench: Workbench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(bench.root)
    done = [folder for folder in bench.store.folders() if folder.state() == "done"]
    [folder] = done[:1]
    other = next(each for each in bench.store.folders() if each.run_id != folder.run_id)
    name, keys, value = STRANGE[how]
    path, record = folder.path / name, read_json(folder.path / name)
    place = record
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    write_json(path, record)
    for words, codes in VERBS:
        study = [str(bench.study), *swept.overrides]
        given = [part for word in words for part in (study if word == "STUDY" else [word])]
        given = [{"RUN": folder.run_id, "OTHER": other.run_id}.get(word, word) for word in given]
        ended = cli(*given, "--store", bench.store.root)
        assert ended.code in codes, (words, ended)
        assert "Traceback" not in ended.err
        if words[0] in ("query", "doctor"):
            assert str(path) in ended.out + ended.err, (words, ended)
