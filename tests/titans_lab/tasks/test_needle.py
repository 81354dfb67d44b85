from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from draws import generator
from torch import Tensor, nn

from titans_lab.data.hidden import NeedleContents, needle_contents, prose_part
from titans_lab.data.needles import Words
from titans_lab.data.parts import PARTS, Part
from titans_lab.errors import UserError
from titans_lab.run.config import Impossible, RunConfig, build
from titans_lab.tasks.haystack import NOISE, prose
from titans_lab.tasks.needle import KINDS
from titans_lab.tasks.needle.task import DEPTHS, NeedleTask, needles, string_match_all
from titans_lab.tasks.task import IGNORED, build_task

PROSE = b"It was late. Nobody came!  Was it   a dream?\nThe rain fell on and on. So it went. " * 30
NEEDLE = re.compile(rb"One of the special magic (\w+)s for ([\w-]+) is: ([\w-]+)\.")


def some(kind: Any, template: Any = "ruler", part: Part = "test", seed: int = 0) -> Any:
    return needles(kind, template, NeedleContents((), PROSE), seed, part)


def config(**values: Any) -> RunConfig:
    chosen = {"task.name": "needle", "train.seq_len": 512, "train.batch_size": 3}
    return build(RunConfig, chosen | {key.replace("__", "."): value for key, value in values.items()})


def test_a_passkey_is_asked_for_in_rulers_words():
    question = some("passkey").question(0, 1024, 128)
    found = NEEDLE.search(question.prompt)
    assert found
    key = found[2].decode()
    head, tail = (
        "A special magic number is hidden within the following text. Make sure to memorize it. "
        "I will quiz you about the number afterwards.\nThe grass is green.",
        f"\nWhat is the special magic number for {key} mentioned in the provided text? "
        f"The special magic number for {key} mentioned in the provided text is",
    )
    text = question.prompt.decode()
    assert text.startswith((head, head.replace("The grass is green.", found[0].decode())))
    assert text.endswith(tail)
    assert text.count(question.target) == 1
    assert question.answer == f" {question.target}.".encode()


@pytest.mark.parametrize(
    ("kind", "value"),
    [("passkey", r"[1-9]\d{6}"), ("number", r"[1-9]\d{6}"), ("uuid", "[0-9a-f-]{36}"), ("word", "[a-z]+-[a-z]+")],
)
def test_the_value_is_of_its_kind(kind: str, value: str):
    targets = {some(kind).question(number, 1024).target for number in range(20)}
    assert len(targets) > 15
    assert all(re.fullmatch(value, target) for target in targets)
    assert kind != "uuid" or {uuid.UUID(target).version for target in targets} == {4}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", ["ruler", "brief"])
def test_a_question_has_its_length_to_the_byte_and_its_needle_between_two_sentences(kind: Any, template: Any):
    source = some(kind, template)
    plain = NOISE if kind == "passkey" else prose(prose_part(PROSE, "test")).text
    for number, length in enumerate(generator().integers(700, 5000, 20).tolist()):
        question = source.question(number, length, 128)
        assert len(question.prompt) == length - 128
        assert len(source.question(number, length).prompt) + len(question.answer) == length
        found = NEEDLE.search(question.prompt)
        assert found
        assert found[3].decode() == question.target
        before, after = question.prompt[: found.start()], question.prompt[found.end() :]
        assert before == b"" or before[-1:] in b"\n ."
        assert after[:1] in (b" ", b"\n")
        context = question.prompt.partition(b"afterwards.\n")[2] or question.prompt
        context = context[: context.rindex(b"\nWhat is" if template == "ruler" else b"\nThe special magic")]
        hay = context.replace(found[0] + plain[-1:], b"").replace(plain[-1:] + found[0], b"")
        assert hay in plain * (2 + length // len(plain))
        assert question.depth == pytest.approx(context.index(found[0]) / len(hay), abs=2 / len(hay))


def test_depths_of_prose_are_rulers_forty():
    source = some("word")
    depths = {round(source.question(number, 60_000).depth, 2) for number in range(200)}
    assert len(depths) > 30
    for depth in depths:
        assert min(abs(depth - DEPTHS / 100)) < 0.02


def test_questions_follow_from_their_number_and_seed_alone():
    first, again, other = some("word").question(5, 900), some("word").question(5, 900), some("word").question(6, 900)
    assert first == again
    assert first != other
    assert some("word", seed=1).question(5, 900) != first
    assert some("word", part="train").question(5, 900) != first
    assert some("word", part="valid").question(5, 900) != first


@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_in_two_parts(kind: Any):
    asked = [{some(kind, part=part).question(n, 700).target for n in range(300)} for part in PARTS]
    assert all(asked)
    assert not any(one & other for one, other in combinations(asked, 2))


def test_each_part_has_prose_of_its_own():
    text = b"".join(b"This is sentence %d. " % number for number in range(1000))

    def sentences(part: Part) -> set[int]:
        asked = needles("number", "brief", NeedleContents((), text), 0, part)
        prompts = b"".join(asked.question(number, 700).prompt for number in range(40))
        return {int(n) for n in re.findall(rb"is sentence (\d+)\.", prompts)}

    train, valid, test = map(sentences, PARTS)
    assert max(train) <= 900 <= min(valid)
    assert max(valid) <= 950 <= min(test)


def test_keys_are_made_of_the_words_of_a_folder(tmp_path: Path):
    (tmp_path / "adjectivelist.txt").write_text("odd\n")
    (tmp_path / "nounlist.txt").write_text("\n".join(f"thing{n}" for n in range(99)))
    source = needles("word", "brief", needle_contents("word", None, str(tmp_path)), 0, "test")
    question = source.question(0, 900)
    assert re.search(rb"for odd-thing\d+ is: odd-thing\d+\.", question.prompt)
    (tmp_path / "nounlist.txt").write_text("")
    with pytest.raises(UserError, match=r"nounlist\.txt is empty; give a folder with adjectivelist\.txt"):
        needle_contents("word", None, str(tmp_path))
    with pytest.raises(UserError, match=r"cannot read .*adjectivelist\.txt"):
        needle_contents("word", None, str(tmp_path / "nowhere"))


def test_a_length_without_room_says_how_much_there_must_be():
    source = needles("uuid", "ruler", NeedleContents((b"odd", b"thing"), PROSE), 0, "test")
    with pytest.raises(UserError, match=r"length 300: a needle of this kind takes \d+ tokens") as caught:
        source.question(0, 300, 128)
    needed = int(str(caught.value).split("takes ")[1].split()[0])
    assert len(source.question(0, needed, 128).prompt) == needed - 128


def test_the_score_is_rulers():
    assert string_match_all("It is 1234567, I think.", "1234567")
    assert string_match_all("CALM-RIVER", "calm-river")
    assert not string_match_all("123456 7", "1234567")


class Reader(nn.Module):
    """Copies the needle's value, character by character, as far as it is told to."""

    def __init__(self, right: int) -> None:
        super().__init__()
        self.right = right

    def forward(self, inputs: Tensor) -> Tensor:
        logits = torch.zeros(*inputs.shape, 256)
        for row, tokens in enumerate(inputs.tolist()):
            found = NEEDLE.search(bytes(tokens))
            assert found
            value = b" " + found[3] + b"."
            for place, token in enumerate(value[: self.right], start=len(tokens) - len(value)):
                logits[row, place, token] = 50
        return logits


@pytest.mark.parametrize(("right", "accuracy"), [(9, 1), (8, 0), (0, 0)])
def test_an_answer_counts_where_all_of_it_is_right(right: int, accuracy: float):
    task = build_task(config(task__needle__test_examples=7), 0)
    loss, score = (each for each in task.evaluate(Reader(right), torch.device("cpu")) if each.split == "test")
    assert (score.metric.name, score.value, score.count) == ("accuracy", accuracy, 7)
    assert loss.value == pytest.approx((9 - right) / 9 * np.log(256), abs=1e-4)
    assert loss.count == 7 * 9


@pytest.mark.parametrize(("counted", "terms"), [("answer", 3 * 9), ("all", 3 * 512)])
def test_training_counts_the_answer_or_all(counted: str, terms: int):
    task = build_task(config(task__needle__loss=counted), 4)
    assert isinstance(task, NeedleTask)
    inputs, targets, wanted = batch = task.sample(2)
    assert inputs.shape == targets.shape == (3, 512)
    assert task.terms(batch) == terms
    assert (wanted != IGNORED).sum() == 3 * 9
    assert torch.equal(targets[:, -9:], wanted[:, -9:])
    assert torch.equal(inputs[:, 1:][:, -8:], targets[:, :-1][:, -8:])
    assert not torch.equal(task.sample(3)[0], inputs)
    assert torch.equal(build_task(config(task__needle__loss=counted), 4).sample(2)[0], inputs)


def test_runs_of_any_seed_are_tested_on_the_same_questions():
    assert torch.equal(build_task(config(), 0).inputs(512), build_task(config(), 1).inputs(512))
    assert not torch.equal(build_task(config(), 0).sample(0)[0], build_task(config(), 1).sample(0)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_several_needles_and_questions_stand_at_varied_places_each_question_behind_its_needle(kind: Any):
    source = dataclasses.replace(some(kind, "brief"), needles=4, questions=3)
    ends = set()
    for number in range(30):
        question = source.question(number, 1500)
        assert len(question.prompt) + len(question.answer) == 1500
        facts = {
            key: (place.start(), value)
            for place in NEEDLE.finditer(question.prompt)
            for _, key, value in [place.groups()]
        }
        assert len(facts) == 4
        assert len(question.answered) == 2
        asked = re.findall(rb"The special magic \w+ for ([\w-]+) is:", question.prompt)
        assert len(asked) == len(set(asked)) == 3
        assert facts[asked[-1]][1].decode() == question.target
        for begin, end in question.answered:
            key = re.findall(rb"for ([\w-]+) is:$", question.prompt[:begin])[0]
            home, value = facts[key]
            assert question.prompt[begin:end] == b" " + value + b"."
            assert home < begin
            ends.add(begin // 100)
    assert len(ends) > 6


def test_one_needle_and_one_question_are_what_they_always_were():
    assert some("word").question(5, 900) == dataclasses.replace(some("word"), needles=1, questions=1).question(5, 900)
    several = dataclasses.replace(some("word"), needles=2).question(5, 900)
    assert several.answered == ()
    assert len(NEEDLE.findall(several.prompt)) == 2


def test_every_answer_of_a_training_sequence_counts_and_one_of_a_test_sequence():
    task = build_task(config(task__needle__needles=3, task__needle__questions=3, task__needle__template="brief"), 0)
    inputs, targets, wanted = task.sample(0)
    for row, counted in zip(inputs, wanted, strict=True):
        text = bytes([*row.tolist()])
        said = bytes(counted[counted != IGNORED].tolist())
        answers = [b" " + value + b"." for _, _, value in NEEDLE.findall(text)]
        assert len(answers) == 3
        assert sorted(re.findall(rb" \d{7}\.", said)) == sorted(answers)
        assert len(said) == 3 * 9
    assert task.terms((inputs, targets, wanted)) == 3 * 3 * 9
    _, of_test, _ = next(task.examples("test"))
    assert task.terms((inputs, of_test)) == 3 * 9


def test_more_needles_than_words_or_room_and_more_questions_than_needles_are_refused():
    with pytest.raises(Impossible, match=r"questions: 2 are more than needles \(1\)"):
        config(task__needle__questions=2)
    with pytest.raises(Impossible, match="bytes that 5 needles and 5 of their questions can take"):
        config(task__needle__needles=5, task__needle__questions=5)
    words = needles("number", "brief", NeedleContents((b"odd", b"thing"), PROSE), 0, "train")
    with pytest.raises(UserError, match="too few for 2 different keys; give longer lists"):
        dataclasses.replace(words, needles=2).question(0, 900)


@pytest.mark.parametrize("template", ["ruler", "brief"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2])
def test_the_longest_needle_is_as_long_as_is_said(kind: Any, template: Any, count: int):
    words = (b"\xc3\xbcber odd", b"river rivers") if count == 1 else (b"\xc3\xbcber oddly", b"river")
    longest = Words.of(words).longest(kind, template, count, count)
    single = needles(kind, template, NeedleContents(words, PROSE), 0, "train")
    questions = dataclasses.replace(single, needles=count, questions=count)
    sizes = [len(question.prompt) + len(question.answer) for question in drawn(questions, longest)]
    assert sizes == [longest] * 40  # all of them fit
    with pytest.raises(UserError, match=f"takes {longest} tokens"):
        list(drawn(questions, longest - 1))


def drawn(questions: Any, length: int) -> Iterator[Any]:
    """The first questions of a length."""
    return (questions.question(number, length) for number in range(40))
