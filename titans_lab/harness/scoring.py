"""What lm-eval asks of a model: how likely tokens are after others, and how they go on. Contexts are streamed.

However long a context, it is read in pieces with the state handed on, so that memory does not grow with it (save a
transformer's), and it is never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.models.generation import prefill
from titans.models.language_model import LanguageModel
from titans_lab.data.tokenizer import Tokenizer

PIECE = 2048  # tokens of each sequence that are read at once
MOST_LOGITS = 1 << 26  # values held at once


class Question(NamedTuple):
    """Tokens, and the place of the first whose probability is asked for; at least one is before it."""

    tokens: list[int]
    first: int


class Answer(NamedTuple):
    """Logarithm of the probability of the tokens asked for, and whether each of them is the likeliest one."""

    log_likelihood: float
    greedy: bool


@torch.no_grad()
def answer(model: LanguageModel, questions: Sequence[Question], batch: int, device: torch.device) -> list[Answer]:
    """An answer for each question, in order.

    Args:
        model: In evaluation mode, on `device`.
        questions: Of any lengths.
        batch: Of them at once; those of like length go together, filled up behind their ends, where nothing is read.
        device: Where to compute.
    """
    order = sorted(range(len(questions)), key=lambda place: -len(questions[place].tokens))
    found: dict[int, Answer] = {}
    for begin in range(0, len(order), batch):
        places = order[begin : begin + batch]
        found |= zip(places, _answer(model, [questions[place] for place in places], device), strict=True)
    return [found[place] for place in range(len(questions))]


def _answer(model: LanguageModel, questions: Sequence[Question], device: torch.device) -> list[Answer]:
    inputs, targets, asked = (x.to(device) for x in _padded(questions))
    total = torch.zeros(len(questions), dtype=torch.float64, device=device)
    wrong = torch.zeros(len(questions), dtype=torch.int64, device=device)
    state = model.start(len(questions))
    for piece, wanted, where in zip(*(x.split(PIECE, 1) for x in (inputs, targets, asked)), strict=True):
        hidden, state = model.hidden(model.embedding(piece), state)
        row = where.nonzero()[:, 0]
        for rows, features, truth in _portions(model, row, hidden[where], wanted[where]):
            logits = model.head(features).float()
            total.index_add_(0, rows, -F.cross_entropy(logits, truth, reduction="none").double())
            wrong.index_add_(0, rows, (logits.argmax(-1) != truth).long())
    return [Answer(value, not count) for value, count in zip(total.tolist(), wrong.tolist(), strict=True)]


def _portions(model: LanguageModel, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Rows of which few enough go together for their logits to fit."""
    size = max(1, MOST_LOGITS // model.config.vocab_size)
    return zip(*(x.split(size) for x in tensors), strict=True)


def _padded(questions: Sequence[Question]) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and which of these are asked for, `[batch, time]`."""
    length = max(len(question.tokens) for question in questions)
    tokens = torch.tensor([[*question.tokens, *[0] * (length - len(question.tokens))] for question in questions])
    place = torch.arange(1, length)
    firsts, ends = (torch.tensor(x)[:, None] for x in zip(*((q.first, len(q.tokens)) for q in questions), strict=True))
    return tokens[:, :-1], tokens[:, 1:], (place >= firsts) & (place < ends)


def question(tokenizer: Tokenizer, context: str, continuation: str) -> Question:
    """As lm-eval splits the two: together they have the tokens of the whole, white space belongs to what follows it.

    An empty context is the end of a text.
    """
    bare = context.rstrip()
    whole = tokenizer.encode(context + continuation)
    before = tokenizer.encode(bare)
    return Question(whole, len(before)) if before else Question([tokenizer.end, *whole], 1)


@torch.no_grad()
def go_on(
    model: LanguageModel, tokenizer: Tokenizer, context: str, stops: Sequence[str], most: int, device: torch.device
) -> str:
    """The likeliest continuation, token by token: to the first stop, the end of the text, or `most` tokens."""
    prompt = torch.tensor([tokenizer.encode(context) or [tokenizer.end]], device=device)
    state = prefill(model, prompt[:, :-1]) if prompt.shape[1] > 1 else model.start(1)
    token, drawn, text = prompt[:, -1:], [], ""
    for _ in range(most):
        logits, state = model.advance(token, state)
        token = logits[:, -1:, : len(tokenizer.pieces)].argmax(-1)  # a model may have place for more tokens
        if int(token) == tokenizer.end:
            break
        drawn.append(int(token))
        text = tokenizer.decode(drawn).decode(errors="replace")
        if found := [text.index(stop) for stop in stops if stop in text]:
            return text[: min(found)]
    return text
