"""What is asked of a model after a long prompt."""

from __future__ import annotations

from dataclasses import dataclass

#: What lengths are counted in: a token is a byte of UTF-8.
TOKENIZER = "bytes"


@dataclass(frozen=True)
class Question:
    """A prompt and what should follow it.

    Attributes:
        prompt: Ends where the answer begins.
        answer: As training continues the prompt, beginning with a blank.
        target: What has to be found in a model's words.
        depth: Where the fact that answers it stands, from 0, the start of the context, to 1, its end.
        about: The question alone.
    """

    prompt: bytes
    answer: bytes
    target: str
    depth: float
    about: str
