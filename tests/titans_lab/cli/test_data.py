from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench import Workbench

from titans_lab.study.study import load_study


def test_text_is_prepared_shown_and_trained_on(cli: Any, bench: Workbench, tmp_path: Path):
    folder = tmp_path / "tokens"
    ended = cli("data", "prepare", bench.text, "-o", folder, "--valid-fraction", 0.2)
    assert ended.code == 0
    assert f"in a study: data.path={folder} (sets model.vocab_size to 256)" in ended.out
    assert ended.err == ""
    again = cli("data", "prepare", bench.text, "-o", folder, "--valid-fraction", 0.2)
    assert (again.code, again.out) == (0, ended.out)
    assert "has prepared it before" in again.err
    shown = json.loads(cli("data", "show", folder, "--json").out)
    assert shown["train"]["tokens"] + shown["valid"]["tokens"] == bench.text.stat().st_size
    bench.study.write_text(bench.study.read_text().replace(str(bench.text), str(folder)).replace("0.1", "0.05"))
    planned = json.loads(cli("plan", bench.study, "--store", bench.store.root, "--json").out)["runs"]
    assert [row["run_id"] for row in planned] == [run.run_id for run in bench.runs()]
    assert bench.runs()[0].data_hash == shown["digest"]


def test_a_prepared_folder_sets_the_vocabulary_that_the_study_does_not(cli: Any, bench: Workbench, tmp_path: Path):
    folder = tmp_path / "tokens"
    assert cli("data", "prepare", bench.text, "-o", folder, "--valid-fraction", 0.2).code == 0
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"vocabulary": 300}))
    for overrides, size in (([], 300), (["model.vocab_size=512"], 512)):
        study = load_study(bench.study, [f"data.path={folder}", *overrides])
        assert {point.config.model.vocab_size for point in study.points} == {size}


def test_wrong_input_ends_with_2_and_one_message(cli: Any, tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"text": "fine"}\nno\n')
    for arguments in (
        ["prepare", tmp_path / "rows.jsonl", "-o", tmp_path / "out"],
        ["prepare", tmp_path / "no-such", "-o", tmp_path / "out"],
        ["show", tmp_path],
    ):
        ended = cli("data", *arguments)
        assert ended.code == 2
        assert ended.err.startswith(f"titans-lab: {tmp_path}")
        assert ended.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
