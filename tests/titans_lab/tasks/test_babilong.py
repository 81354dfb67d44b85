from __future__ import annotations

import dataclasses
import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from titans_lab.data.babi import LONGEST_ANSWER, parse_babi, split_stories
from titans_lab.data.hidden import BabilongContents, babilong_contents, prose_part
from titans_lab.data.parts import PARTS, Part
from titans_lab.errors import UserError
from titans_lab.tasks.babilong.task import Stories, is_right, labels_of, stories
from titans_lab.tasks.haystack import prose

PLACES = frozenset("bathroom bedroom garden hallway kitchen office".split())  # noqa: SIM905
BOOK = b"".join(b"Call me number %d. " % number for number in range(2000))
STORY = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel went back to the hallway.
5 Where is Daniel?\thallway\t4
1 Sandra took the milk there.
2 What is Sandra carrying?\tmilk,apple\t1
"""


def many(stories: int = 120) -> str:
    """Stories that differ in whom they are about."""
    return "".join(re.sub("Mary|Daniel|Sandra", rf"\g<0>{n}", STORY) for n in range(stories))


def some(part: Part = "test", text: str | None = None) -> Stories:
    return stories(BabilongContents((text or many()).encode(), "qa1.txt", BOOK), 0, part)


def test_a_file_is_read_as_questions_with_the_facts_before_them():
    first, second, third = parse_babi(STORY, "qa1.txt")
    assert (first.facts, first.question, first.answer) == (
        ("Mary moved to the bathroom.", "John went to the hallway."), "Where is Mary?", "bathroom",
    )  # fmt: skip
    assert second.facts == (*first.facts, "Daniel went back to the hallway.")
    assert [each.support for each in (first, second, third)] == [(0,), (2,), (0,)]
    assert first.story == second.story != third.story
    assert labels_of([first, second, third]) == {"bathroom", "hallway", "milk", "apple"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Daniel went back", r"qa1\.txt:4: 'Daniel went back' is not a line of a bAbI story.*with the number 4"),
        ("7 Daniel went back.", r"qa1\.txt:4: .*with the number 4"),
        ("4 Where is Daniel?\thallway", r"qa1\.txt:4: "),
        ("4 Where is Daniel?\thallway\tone", r"qa1\.txt:4: "),
        ("4 Where is Daniel?\thallway\t9", r"qa1\.txt:4: the facts 9 do not all precede"),
        ("", r"qa1\.txt:4: '' is not a line"),
    ],
)
def test_a_line_that_is_none_is_named(line: str, words: str):
    lines = STORY.splitlines()
    lines[3] = line
    with pytest.raises(UserError, match=words):
        parse_babi("\n".join(lines), "qa1.txt")


def test_a_file_without_a_question_is_refused():
    with pytest.raises(UserError, match=r"qa1\.txt: has no question"):
        parse_babi("1 Mary moved to the bathroom.\n", "qa1.txt")


def test_a_question_has_its_length_and_its_facts_in_order_between_sentences_of_the_book():
    source = some()
    book = prose(prose_part(BOOK, "test")).text
    for number in range(30):
        question = source.question(number, 3000, 32)
        assert len(question.prompt) == 3000 - 32
        asked = next(each for each in source.asked if each.question == question.about)
        assert question.prompt.endswith(f"\n\nQuestion: {asked.question}\nAnswer:".encode())
        context = question.prompt[: question.prompt.index(b"\n\nQuestion")]
        places = [context.index(f"{fact} ".encode()) for fact in asked.facts]
        assert places == sorted(places)
        assert question.depth == places[asked.support[0]] / len(context)
        for fact in asked.facts:
            context = context.replace(f"{fact} ".encode(), b"", 1)
        assert context in book * 3
        assert all(place == 0 or question.prompt[place - 2 : place] in (b". ", b"? ") for place in places)


def test_earlier_questions_of_the_story_stand_between_the_facts_that_they_stand_between():
    lines = ["1 Mary is here.", "2 Where is Mary?\there\t1", "3 John is there.", "4 Where is John?\tthere\t3"]
    lines += ["5 Mary is away.", "6 Mary is lost.", "7 Where is Mary?\tlost\t6"]
    text = (
        "\n".join("\n".join(lines).replace("Mary", f"Mary{n}").replace("John", f"John{n}") for n in range(200)) + "\n"
    )
    source, single = dataclasses.replace(some("train", text), questions=3), some("train", text)
    seen, places = set(), set()
    for number in range(60):
        question = source.question(number, 1200)
        assert len(question.prompt) + len(question.answer) == 1200
        alone = single.question(number, 1200)
        assert (question.target, question.about, alone.answered) == (alone.target, alone.about, ())
        [asked] = [each for each in source.asked if (each.question, each.answer) == (question.about, question.target)]
        seen.add((len(asked.facts), len(question.answered)))
        after = [question.prompt.index(f"{fact} ".encode()) for fact in asked.facts]
        assert after == sorted(after)
        for (begin, end), facts, answer in zip(question.answered, (1, 2), (b" here.", b" there."), strict=False):
            assert question.prompt[begin:end] == answer
            assert re.search(rb"Question: [^?]*\?\nAnswer:$", question.prompt[:begin])
            assert after[facts - 1] < begin < after[facts] if facts < len(after) else after[facts - 1] < begin
            places.add(begin // 100)
    assert seen == {(1, 0), (2, 1), (4, 2)}
    assert len(places) > 5


def test_earlier_questions_are_left_out_where_there_is_no_room():
    source = dataclasses.replace(some("train"), questions=9)
    index = next(n for n in range(40) if source.question(n, 3000).answered)
    question = source.question(index, 3000)
    least = len(some("train").question(index, 0).prompt) + LONGEST_ANSWER
    fitting = next(n for n in range(4000) if source.question(n, least).about == question.about)
    assert source.question(fitting, least).answered == ()


def test_without_a_book_there_are_the_facts_alone():
    question = some().question(0, 0)
    assert re.fullmatch(rb"(Mary|Sandra)\d+ .*\. \n\nQuestion: .*\nAnswer:", question.prompt)


def test_stories_too_long_for_a_length_are_left_out():
    source = some()
    shortest = min(len(source.question(number, 0).prompt) for number in range(source.count(0)))
    assert source.count(shortest + 31, 32) == 0
    assert 0 < source.count(shortest + 32, 32) < source.count(3000, 32) == source.count(0) == len(source.asked)
    assert len(source.question(0, shortest + 32, 32).prompt) == shortest
    with pytest.raises(UserError, match=rf"length 60: too short for any story; the shortest takes {shortest} tokens"):
        source.question(0, 60, 32)


def test_no_story_is_in_two_parts():
    asked = parse_babi(many(), "qa1.txt")
    parts = {part: {each.story for each in split_stories(asked, part)} for part in PARTS}
    assert sum(len(split_stories(asked, part)) for part in PARTS) == len(asked)
    assert 0 < len(parts["valid"]) < len(parts["train"])
    assert 0 < len(parts["test"]) < len(parts["train"])
    assert sum(map(len, parts.values())) == len(set.union(*parts.values()))
    assert {part: {each.story for each in some(part).asked} for part in PARTS} == parts


@pytest.mark.parametrize(
    ("output", "right"),
    [
        (" bathroom.", True),
        ("The most recent location of Mary is Bathroom. Not the kitchen.", True),
        (" bathroom or kitchen", False),
        (" the hallway", False),
        ("", False),
        (" bathroom<example> kitchen", True),
        (" bathroom <context> garden", True),
        (" in the kitchen. bathroom", False),
    ],
)
def test_the_target_must_be_the_only_label_of_the_first_sentence(output: str, right: bool):
    assert is_right(output, "bathroom", "Where is Mary?", PLACES) is right


def test_labels_of_the_question_do_not_count():
    assert is_right("before the kitchen it was in the garden", "garden", "Where was it before the kitchen?", PLACES)
    assert not is_right("the kitchen", "kitchen", "Where was it before the kitchen?", PLACES)


def test_a_list_answer_must_name_all_items_and_no_other():
    things = frozenset({"milk", "apple", "football"})
    assert is_right("apple and milk", "milk,apple", "What is Mary carrying?", things)
    assert not is_right("apple", "milk,apple", "What is Mary carrying?", things)
    assert not is_right("apple, milk, football", "milk,apple", "What is Mary carrying?", things)
    assert is_right("n,e", "n,e", "How do you go?", frozenset({"n,e", "s,w"}))


def test_files_that_do_not_serve_are_named(tmp_path: Path):
    facts = tmp_path / "qa1.txt.gz"
    facts.write_bytes(gzip.compress(many().encode()))
    assert babilong_contents(str(facts), None).facts == many().encode()
    facts.write_bytes(facts.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"qa1\.txt\.gz is damaged or cut off"):
        babilong_contents(str(facts), None)
    (tmp_path / "books").mkdir()
    plain = tmp_path / "qa1.txt"
    plain.write_text(STORY)
    with pytest.raises(UserError, match="books has no file; give a book"):
        babilong_contents(str(plain), str(tmp_path / "books"))
    (tmp_path / "books" / "empty.txt").write_text(" \n")
    with pytest.raises(UserError, match=r"empty\.txt is empty; give a book"):
        babilong_contents(str(plain), str(tmp_path / "books"))
    with pytest.raises(UserError, match=r"task\.babilong\.facts: names no file"):
        babilong_contents(None, None)


def test_a_book_comes_without_project_gutenbergs_licence(tmp_path: Path):
    for number, name in enumerate(("b.txt", "a.txt")):
        header, footer = "licence\n*** START OF THE PROJECT GUTENBERG EBOOK ***\n", "*** END OF THE PROJECT\nlicence"
        (tmp_path / name).write_text(f"{header}This is book {number}.\n{footer}")
    facts = tmp_path.parent / "facts.txt"
    facts.write_text(STORY)
    contents = babilong_contents(str(facts), str(tmp_path))
    assert contents.book.split() == b"This is book 1. This is book 0.".split()


OFFICIAL: dict[str, Any] = {
    "qa1": PLACES, "qa2": PLACES, "qa3": PLACES, "qa4": PLACES,
    "qa5": frozenset({"bill", "fred", "jeff", "mary", "apple", "football", "milk"}),
}  # fmt: skip
SHARED = Path(__file__).parents[4] / "shared" / "data" / "babi"


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data/babi")
def test_the_labels_of_the_real_files_are_the_official_ones():
    files = list(SHARED.rglob("qa*.gz"))
    assert {path.name.split("_")[0] for path in files} == OFFICIAL.keys()
    for path in files:
        asked = parse_babi(gzip.decompress(path.read_bytes()).decode(), path.name)
        assert len(asked) >= 1000
        assert labels_of(asked) == OFFICIAL[path.name.split("_")[0]]
