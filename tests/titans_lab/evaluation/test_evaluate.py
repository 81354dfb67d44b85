from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from draws import generator
from workbench import Workbench

from titans.models.language_model import LanguageModel, writes_off
from titans_lab.errors import UserError
from titans_lab.evaluation import evaluate
from titans_lab.evaluation.evaluate import AnsweringRun, examination, replies
from titans_lab.evaluation.evaluations import EvaluationRequest, Sources, evaluation_id, kind_of
from titans_lab.evaluation.trained import Trained
from titans_lab.store.query import ask
from titans_lab.tasks.question import Question

VARIANTS = ("lmm", "mac", "mag", "mal", "transformer")
ASKED = EvaluationRequest("needle", "passkey", 700, 3, 0, 5, "ruler")


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


def known(bench: Workbench, *overrides: str) -> AnsweringRun:
    """A run whose model nobody has to train."""
    examined = AnsweringRun(bench.store, bench.recorded(*overrides), torch.device("cpu"))
    [run] = bench.runs(*overrides)
    model = LanguageModel(run.config.model, 3).eval()
    vars(examined)["trained"] = Trained(run.run_id, model, run.config, 0, "")
    return examined


def test_a_model_that_writes_to_no_state_has_no_writes_to_switch_off(bench: Workbench):
    examined = known(bench, "model.variant=transformer")
    with pytest.raises(UserError, match="--writes off: transformer writes to no state"):
        examined.answer(dataclasses.replace(ASKED, writes="off"), Sources())


def test_without_writes_the_model_answers_from_its_initial_state(bench: Workbench):
    examined = known(bench, "model.memory.theta_scale=0.5")
    said = {}
    for writes in ("on", "off"):
        asked = dataclasses.replace(ASKED, writes=writes)
        said[writes] = [answer for _, answer in examined.said(asked, examination(asked, Sources()))]
    with writes_off(examined.trained.model):
        assert [a for _, a in examined.said(ASKED, examination(ASKED, Sources()))] == said["off"] != said["on"]


def questions(sizes: list[int]) -> list[Question]:
    random = generator()
    return [Question(random.integers(0, 256, size, np.uint8).tobytes(), b"", "", 0.0, "") for size in sizes]


@torch.no_grad()
def greedy(model: LanguageModel, prompt: bytes, count: int) -> str:
    """The likeliest continuation, reading everything again for each token."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return bytes(tokens[len(prompt) :]).decode(errors="replace")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [1, 2, 63, 130])
def test_an_answer_in_a_stream_is_that_of_the_whole(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, variant: str, size: int
):
    monkeypatch.setattr(evaluate, "PIECE", 7)
    examined = known(bench, f"model.variant={variant}", "model.window=16", "model.segment_len=16")
    asked = questions([size] * 3)
    expected = [greedy(examined.trained.model, question.prompt, 6) for question in asked]
    assert replies(examined.trained.model, asked, 6, torch.device("cpu")) == expected


def test_questions_of_other_sizes_are_answered_each(bench: Workbench, monkeypatch: pytest.MonkeyPatch):
    examined = known(bench)
    asked = questions([5, 9, 5, 12])
    exam = dataclasses.replace(examination(ASKED, Sources()), count=4, questions=Given(asked))
    said = dict(examined.said(dataclasses.replace(ASKED, length=0), exam))
    assert said == {question: greedy(examined.trained.model, question.prompt, 5) for question in asked}
    monkeypatch.setattr(evaluate, "AT_ONCE", 1)
    assert dict(examined.said(dataclasses.replace(ASKED, length=0), exam)) == said


@dataclasses.dataclass(frozen=True)
class Given:
    asked: list[Question]

    def question(self, number: int, length: int, answer_tokens: int | None = None) -> Question:
        return self.asked[number]


def test_an_evaluation_is_recorded_once_with_every_depth(bench: Workbench):
    examined = known(bench)
    first = examined.answer(ASKED, Sources())
    assert first["recorded"] is False
    examined.trained.model.head.weight.data.zero_()
    again = examined.answer(ASKED, Sources())
    assert again == first | {"recorded": True}
    share, *each = bench.ask("select * from evals order by depth nulls first")
    assert (share["value"], share["count"], share["length"]) == (0.0, 3, 700)
    assert (share["task"], share["metric"], share["direction"]) == ("needle", "accuracy", "maximize")
    assert (share["setting"], share["evaluation"]) == ("passkey, ruler", first["evaluation"])
    assert share["note"] == "not RULER-comparable: lengths in bytes"
    assert [row["count"] for row in each] == [1, 1, 1]
    assert [row["depth"] for row in each] == sorted(
        examination(ASKED, Sources()).questions.question(number, 700, 5).depth for number in range(3)
    )


def test_whatever_changes_the_answers_changes_the_id():
    others: dict[str, Any] = {
        "task": "babilong", "kind": "word", "length": 9, "count": 9, "seed": 9, "answer_tokens": 9, "template": "brief",
        "writes": "off",
    }  # fmt: skip
    assert others.keys() == {field.name for field in dataclasses.fields(EvaluationRequest)}
    ids = {evaluation_id("a1", dataclasses.replace(ASKED, **{name: value}), "d") for name, value in others.items()}
    ids |= {evaluation_id(*what) for what in (("a1", ASKED, "d"), ("a2", ASKED, "d"), ("a1", ASKED, "e"))}
    assert len(ids) == len(others) + 3


def test_a_damaged_evaluation_is_told_and_made_again(bench: Workbench):
    examined = known(bench)
    first = examined.answer(ASKED, Sources())
    [path] = examined.folder.evaluation_paths()
    path.write_bytes(path.read_bytes()[:-20])
    answer = ask(bench.store.root, "select count(*) as n from evals")
    assert answer.table.to_pylist() == [{"n": 0}]
    assert [damage.path for damage in answer.damage] == [path]
    assert examined.answer(ASKED, Sources()) == first


def story_file(root: Path) -> Path:
    lines = (f"1 Mary{n} went to the office.\n2 Where is Mary{n}?\toffice\t1\n" for n in range(99))
    path = root / "qa1_some_test.txt"
    path.write_text("".join(lines) + "1 John went home.\n2 Where is John?\thome\t1\n")
    return path


def test_stories_are_judged_by_the_official_rule(bench: Workbench):
    path = story_file(bench.root)
    asked = EvaluationRequest("babilong", kind_of(path.name), 2000, 500, 0, 8)
    exam = examination(asked, Sources(None, None, str(path)))
    assert asked.kind == "qa1"
    assert exam.note == "lengths in bytes"
    assert 0 < exam.count < 50  # as many as there are stories for tests
    question = exam.questions.question(0, 2000, 8)
    assert exam.right(f" {question.target}. home office", question)
    assert not exam.right(" home or office", question)


@pytest.fixture
def broken(bench: Workbench) -> Path:
    path = story_file(bench.root)
    path.write_text(path.read_text() + "2 no story\tat all\n")
    return path


def test_a_broken_file_of_stories_leaves_no_record(bench: Workbench, broken: Path):
    examined = known(bench)
    with pytest.raises(UserError, match=r"qa1_some_test\.txt:201: "):
        examined.answer(EvaluationRequest("babilong", "qa1", 2000, 5, 0, 8), Sources(None, None, str(broken)))
    assert not examined.folder.evaluation_paths()
    assert not list(bench.store.root.rglob("*.tmp"))
