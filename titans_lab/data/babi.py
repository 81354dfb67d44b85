"""Read stories and questions of bAbI (Weston et al., arXiv 1502.05698), checked line by line. It needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from titans_lab.data.hidden import PURPOSE, BabilongContents, part_of
from titans_lab.data.parts import Part
from titans_lab.errors import UserError

TAIL = "\n\nQuestion: {question}\nAnswer:"
LONGEST_ANSWER = 40  # bytes; the longest of bAbI is a list of three things
_FACT = re.compile(r"(\d+) ([^\t]*\S)\s*")
_QUESTION = re.compile(r"(\d+) ([^\t]*\S)\s*\t\s*([^\t]*\S)\s*\t\s*(\d+(?: \d+)*)\s*")


@dataclass(frozen=True)
class StoryQuestion:
    """A question of a story.

    Attributes:
        facts: The facts of the story before the question.
        question: The question, which ends with a question mark.
        answer: A word, or several with commas between them.
        support: The indices of the facts that the answer follows from.
        story: The whole story, whose hash decides its part of the data.
    """

    facts: tuple[str, ...]
    question: str
    answer: str
    support: tuple[int, ...]
    story: str


def parse_babi(text: str, source: str) -> list[StoryQuestion]:
    """Return the questions of a bAbI file in order.

    Raises:
        UserError: A line is neither a fact nor a question. The message names the line.
    """
    asked: list[StoryQuestion] = []
    for first, lines in _stories(text, source):
        asked += _questions(first, lines, source)
    if not asked:
        raise UserError(
            f"{source}: has no question; give a file of bAbI tasks, such as qa1_single-supporting-fact_train.txt"
        )
    return asked


def _stories(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line and the lines of each story. A story begins where numbers restart from 1."""
    lines: list[str] = []
    first = 1
    for number, line in enumerate(text.rstrip().splitlines(), start=1):
        if line.startswith("1 ") and lines:
            yield first, lines
            lines, first = [], number
        lines.append(line)
    if lines:
        yield first, lines


def _questions(first: int, lines: Sequence[str], source: str) -> Iterator[StoryQuestion]:
    facts: dict[int, str] = {}
    for place, line in enumerate(lines):
        question, fact = _QUESTION.fullmatch(line), _FACT.fullmatch(line)
        told = question or fact
        if told is None or int(told[1]) != place + 1:
            raise UserError(
                f"{source}:{first + place}: {line[:60]!r} is not a line of a bAbI story: 'NUMBER FACT' or "
                f"'NUMBER QUESTION<tab>ANSWER<tab>NUMBERS OF FACTS', with the number {place + 1}"
            )
        if question is None:
            facts[place + 1] = told[2]
            continue
        index = {each: where for where, each in enumerate(facts)}
        support = [int(each) for each in question[4].split()]
        if not index.keys() >= set(support):
            raise UserError(f"{source}:{first + place}: the facts {question[4]} do not all precede the question")
        yield StoryQuestion(
            tuple(facts.values()), question[2], question[3], tuple(index[each] for each in support), "\n".join(lines)
        )


def question_and_facts(asked: StoryQuestion) -> tuple[bytes, list[bytes]]:
    """Return the question as the end of the prompt, and the facts."""
    return TAIL.format(question=asked.question).encode(), [f"{fact} ".encode() for fact in asked.facts]


def size_of(asked: StoryQuestion) -> int:
    tail, facts = question_and_facts(asked)
    return len(tail) + sum(map(len, facts))


def split_stories(asked: Sequence[StoryQuestion], part: Part) -> list[StoryQuestion]:
    """Return the questions of the stories that belong to a part."""
    return [each for each in asked if part_of(each.story) == part]


def chosen_stories(contents: BabilongContents, part: Part) -> list[StoryQuestion]:
    """Return the questions of a part. Raise UserError where the file has no such question."""
    asked = parse_babi(contents.facts.decode(errors="replace"), contents.facts_source)
    chosen = split_stories(asked, part)
    if not chosen:
        told = f"none of its stories is {PURPOSE[part]}"
        raise UserError(f"{contents.facts_source}: {told}; give a file with more of them")
    return chosen


def shortest(contents: BabilongContents, part: Part) -> int:
    """Return the bytes that the shortest story of a part takes with its question and its answer."""
    return min(map(size_of, chosen_stories(contents, part))) + LONGEST_ANSWER
