from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from workbench import Workbench

from titans_lab.data.babi import parse_babi
from titans_lab.data.hidden import babilong_contents, needle_contents, read_facts, read_prose
from titans_lab.run.run import record_of
from titans_lab.store.recorder import Recorder
from titans_lab.tasks.task import build_task
from titans_lab.training.train import Trainer

STORIES = "".join(f"1 Mary{n} went to the office.\n2 Where is Mary{n}?\toffice\t1\n" for n in range(99))
NEEDLE = (
    "task.name=needle",
    "task.needle.test_examples=2",
    "train.seq_len=512",
    "train.tokens=1024",
    "train.batch_size=1",
)
BABILONG = ("task.name=babilong", "task.babilong.test_examples=2", "train.seq_len=300", "train.tokens=900")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.chdir(tmp_path)
    Path("qa1.txt").write_text(STORIES)
    Path("words").mkdir()
    Path("words", "adjectivelist.txt").write_text("odd\neven\n")
    Path("words", "nounlist.txt").write_text("\n".join(f"thing{n}" for n in range(99)))
    return Workbench.at(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "source"),
    [
        ((*NEEDLE, "task.needle.words=words", "task.needle.kind=number"), "text.txt"),
        ((*BABILONG, "task.babilong.facts=qa1.txt"), "qa1.txt in "),
    ],
)
def test_a_run_of_the_task_is_trained_and_judged(bench: Workbench, overrides: tuple[str, ...], source: str):
    [run] = bench.runs(*overrides)
    assert run.data_hash == run.config.data_digest()
    assert source in run.config.data_source()
    task = build_task(run.config, run.seed)
    assert task.digest == run.data_hash
    recorder = Recorder(bench.recorded(*overrides).new_attempt(), {})
    summary = Trainer(run.config, run.seed, task, torch.device("cpu"), recorder).run()
    assert 0 < summary["loss"] < 9
    assert summary["score"] == 0
    [row] = bench.ask("select task, count, value from evals where metric = 'accuracy' and split = 'test'")
    assert row == {"task": run.config.task.name, "count": 2, "value": 0.0}


def test_the_content_of_a_file_is_part_of_the_id_and_its_path_is_not(bench: Workbench):
    overrides = (*BABILONG, "task.babilong.facts=qa1.txt")
    [run] = bench.runs(*overrides)
    Path("other.txt").write_text(STORIES)
    assert bench.runs(*BABILONG, "task.babilong.facts=other.txt")[0].run_id == run.run_id
    Path("qa1.txt").write_text(STORIES.replace("office", "garden"))
    assert bench.runs(*overrides)[0].run_id != run.run_id
    words = (*NEEDLE, "task.needle.words=words")
    [run] = bench.runs(*words)
    assert run.run_id != bench.runs(*NEEDLE)[0].run_id
    Path("words", "nounlist.txt").write_text("stone")
    assert bench.runs(*words)[0].run_id != run.run_id


def test_a_record_has_absolute_paths(bench: Workbench):
    tasks: list[dict[str, Any]] = [
        record_of(bench.runs(*overrides)[0], "")["config"]["task"]
        for overrides in ((*NEEDLE, "task.needle.words=words"), (*BABILONG, "task.babilong.facts=qa1.txt"), NEEDLE)
    ]
    assert tasks[0]["needle"]["words"] == str(bench.root / "words")
    assert tasks[1]["babilong"]["facts"] == str(bench.root / "qa1.txt")
    assert tasks[2]["needle"]["words"] is None


def test_the_default_text_is_pythons_documentation():
    text = read_prose(None)
    assert len(text) > 100_000
    assert b'The "assert" statement' in text
    assert needle_contents("word", None, None).prose == text
    assert needle_contents("passkey", "nowhere", None).prose == b""


def test_a_story_file_and_its_book_have_one_digest(bench: Workbench):
    some = babilong_contents("qa1.txt", str(bench.text))
    assert some.digest != babilong_contents("qa1.txt", "qa1.txt").digest
    assert some.digest != babilong_contents(str(bench.text), "qa1.txt").digest


def test_a_byte_order_mark_and_blank_lines_at_the_end_are_no_part_of_a_story(tmp_path):
    story = "1 Mary moved to the bathroom.\n2 Where is Mary? \tbathroom\t1\n"
    (tmp_path / "plain").write_text(story)
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbf" + story.encode() + b"\n\n")
    plain, marked = (parse_babi(read_facts(str(tmp_path / name)).decode(), name) for name in ("plain", "marked"))
    assert plain == marked
