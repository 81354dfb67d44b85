"""Questions about a long prompt."""

from __future__ import annotations

from dataclasses import dataclass

from titans_lab.data.parts import Part

#: The unit of lengths: a token is a byte of UTF-8.
TOKENIZER = "bytes"


@dataclass(frozen=True)
class Question:
    """A prompt and its answer.

    Attributes:
        prompt: The prompt, which ends where the answer begins.
        answer: The continuation in training, which begins with a blank.
        target: The text that a right answer must contain.
        depth: The depth of the fact that answers it, from 0 (the start of the context) to 1.
        about: The question without the context.
        answered: Begin and end in the prompt of each answer that the prompt gives to another question.
    """

    prompt: bytes
    answer: bytes
    target: str
    depth: float
    about: str
    answered: tuple[tuple[int, int], ...] = ()


#: The name of each part in seeds of random numbers. Two are booleans, so that older runs keep their numbers.
STREAM: dict[Part, object] = {"train": False, "valid": "valid", "test": True}
