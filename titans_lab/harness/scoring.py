"""Answer lm-eval's requests to a model: the likelihood of continuations, and generation.

A context of any length is read in pieces, with the state handed on. So memory does not grow with the context, except
for full attention's, and no context is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans.models.generation import prefill
from titans.models.language_model import LanguageModel
from titans_lab.data.tokenizer import Tokenizer

PIECE = 2048  # tokens of each sequence in a forward pass
MOST_LOGITS = 1 << 26  # values in memory at a time


class Continuation(NamedTuple):
    """Tokens, and the place of the first one of the continuation, which has a token before it."""

    tokens: list[int]
    first: int


class Likelihood(NamedTuple):
    """The log-likelihood of a continuation, and whether each of its tokens is the likeliest one."""

    log_likelihood: float
    greedy: bool


@torch.no_grad()
def answer(
    model: LanguageModel, questions: Sequence[Continuation], batch: int, device: torch.device
) -> list[Likelihood]:
    """Return the likelihood of each continuation, in order.

    Args:
        model: The model, in evaluation mode and on `device`.
        questions: The continuations, of any lengths.
        batch: The continuations in a batch. Those of similar length share one and are padded behind their ends.
        device: The device to compute on.
    """
    order = sorted(range(len(questions)), key=lambda place: -len(questions[place].tokens))
    found: dict[int, Likelihood] = {}
    for begin in range(0, len(order), batch):
        places = order[begin : begin + batch]
        found |= zip(places, _answer(model, [questions[place] for place in places], device), strict=True)
    return [found[place] for place in range(len(questions))]


def _answer(model: LanguageModel, questions: Sequence[Continuation], device: torch.device) -> list[Likelihood]:
    inputs, targets, asked = (x.to(device) for x in _padded(questions))
    total = torch.zeros(len(questions), dtype=torch.float64, device=device)
    wrong = torch.zeros(len(questions), dtype=torch.int64, device=device)
    state = model.start(len(questions))
    size = max(1, MOST_LOGITS // model.config.vocab_size)  # rows whose logits fit into memory
    for piece, wanted, where in zip(*(x.split(PIECE, 1) for x in (inputs, targets, asked)), strict=True):
        hidden, state = model.hidden(model.embedding(piece), state)
        reached = (where.nonzero()[:, 0], hidden[where], wanted[where])
        for rows, features, truth in zip(*(x.split(size) for x in reached), strict=True):
            logits = model.head(features).float()
            total.index_add_(0, rows, -F.cross_entropy(logits, truth, reduction="none").double())
            wrong.index_add_(0, rows, (logits.argmax(-1) != truth).long())
    return [Likelihood(value, not count) for value, count in zip(total.tolist(), wrong.tolist(), strict=True)]


def _padded(questions: Sequence[Continuation]) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs, targets and which of the targets belong to a continuation: each `[batch, time]`."""
    length = max(len(question.tokens) for question in questions)
    tokens = torch.tensor([[*question.tokens, *[0] * (length - len(question.tokens))] for question in questions])
    place = torch.arange(1, length)
    firsts, ends = (torch.tensor(x)[:, None] for x in zip(*((q.first, len(q.tokens)) for q in questions), strict=True))
    return tokens[:, :-1], tokens[:, 1:], (place >= firsts) & (place < ends)


def question(tokenizer: Tokenizer, context: str, continuation: str) -> Continuation:
    """Split context and continuation as lm-eval does: the whole is tokenized, and a space belongs to what follows it.

    An empty context is the end of a text.
    """
    bare = context.rstrip()
    whole = tokenizer.encode(context + continuation)
    before = tokenizer.encode(bare)
    return Continuation(whole, len(before)) if before else Continuation([tokenizer.end, *whole], 1)


@torch.no_grad()
def go_on(
    model: LanguageModel, tokenizer: Tokenizer, context: str, stops: Sequence[str], most: int, device: torch.device
) -> str:
    """Return the greedy continuation up to the first stop sequence, the end of the text, or `most` tokens."""
    prompt = torch.tensor([tokenizer.encode(context) or [tokenizer.end]], device=device)
    state = prefill(model, prompt[:, :-1]) if prompt.shape[1] > 1 else model.start(1)
    token, drawn, text = prompt[:, -1:], [], ""
    for _ in range(most):
        logits, state = model.advance(token, state)
        token = logits[:, -1:, : len(tokenizer.pieces)].argmax(-1)  # the vocabulary of a model may be padded
        if int(token) == tokenizer.end:
            break
        drawn.append(int(token))
        text = tokenizer.decode(drawn).decode(errors="replace")
        if found := [text.index(stop) for stop in stops if stop in text]:
            return text[: min(found)]
    return text
