"""The study files of the repository are sound: the memory is at work in each, and each says what it is for."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pytest

from titans_lab.executors.devices import cores
from titans_lab.planning.plan import plan
from titans_lab.store.store import Store
from titans_lab.study.study import load_study

STUDIES = sorted((Path(__file__).parent.parent / "studies").glob("*.yaml"))


def test_all_studies_are_there():
    names = {path.stem for path in STUDIES}
    assert {
        "quickstart",
        "depth",
        "momentum_forget",
        "chunk_size",
        "persistent_tokens",
        "variants",
        "presets",
        "throughput",
        "ett",
        "genome",
        "bases",
        "passkey",
        "ablation",
    } <= names


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_run_has_at_least_four_segments_and_four_chunks(path):
    runs = load_study(path).runs(lambda _: "0" * 64)
    assert len(runs) > 1
    for run in runs:
        assert run.config.model.variant != "mac" or run.config.train.seq_len >= 4 * run.config.model.segment_len
        assert run.config.train.seq_len >= 4 * run.config.model.memory.chunk_size


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_head_says_question_command_cost_and_expectation(path):
    head = "\n".join(takewhile(lambda line: line.startswith("#"), path.read_text().splitlines()))
    assert all(f"# {word}" in head for word in ("Question:", "Command:", "Data:", "Cost:", "Expected:"))
    assert f"titans-lab sweep studies/{path.name}" in head
    study = load_study(path)
    assert study.question
    assert study.expect
    assert not study.warnings
    said = " ".join(head.replace("#", " ").split())
    assert " ".join(study.question.split()) in said
    assert " ".join(study.expect.split()) in said
    assert f"Cost: {len(study.runs(lambda _: '0' * 64))} runs" in said


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_head_says_where_the_seeds_cannot_decide_what_is_asked(path, tmp_path):
    study = load_study(path)
    runs = study.runs(lambda _: "0" * 64)
    found = plan(runs, Store(tmp_path), cores()[:1], metric=study.metric, effect=study.effect)
    assert bool(found.undecided) == ("\n# Seeds:    One, " in path.read_text())


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_head_says_where_every_file_comes_from(path):
    """The data of a study are in `data/`, which git ignores, and its head names each file or its folder."""
    head = "".join(takewhile(lambda line: line.startswith("#"), path.read_text().splitlines(keepends=True)))
    data = load_study(path).runs(lambda _: "0" * 64)[0].config.data
    for file in filter(None, (data.path, data.valid_path, data.test_path)):
        assert file.startswith("data/")
        folder, name = str(Path(file).parent), Path(file).name
        assert file in head or (folder != "data" and folder in head and name in head)
