from __future__ import annotations

import random

import pytest
import torch

from titans.models.config import MemoryConfig, ModelConfig
from titans.models.language_model import LanguageModel
from titans_lab.data.tokenizer import BYTES
from titans_lab.harness import scoring
from titans_lab.harness.scoring import Continuation, answer, go_on, question

CPU = torch.device("cpu")


def model(variant: str = "mag") -> LanguageModel:
    memory = MemoryConfig(depth=1, chunk_size=4)
    config = ModelConfig(variant=variant, dim=16, n_layers=1, n_heads=2, window=8, segment_len=8, memory=memory)
    return LanguageModel(config, 3).double().eval()


def questions(count: int) -> list[Continuation]:
    lengths = [2, 65, *(random.randint(2, 70) for _ in range(count - 2))]
    return [Continuation([random.randrange(256) for _ in range(n)], random.randint(1, n - 1)) for n in lengths]


@torch.no_grad()
def alone(some: LanguageModel, asked: Continuation) -> tuple[float, bool]:
    """From one whole sequence, without filling or streaming."""
    logits = some(torch.tensor([asked.tokens[:-1]]))[0].float()
    chances = logits.log_softmax(-1).double()
    places = range(asked.first, len(asked.tokens))
    value = sum(float(chances[place - 1, asked.tokens[place]]) for place in places)
    return value, all(int(logits[place - 1].argmax()) == asked.tokens[place] for place in places)


@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "transformer"])
@pytest.mark.parametrize("piece", [7, 4096])
def test_answers_are_those_of_each_sequence_alone(variant: str, piece: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scoring, "PIECE", piece)
    monkeypatch.setattr(scoring, "MOST_LOGITS", 256 * 5)
    some, asked = model(variant), questions(7)
    found = answer(some, asked, 3, CPU)
    expected = [alone(some, each) for each in asked]
    assert [each.log_likelihood for each in found] == pytest.approx([value for value, _ in expected], rel=1e-4)
    assert [each.greedy for each in found] == [greedy for _, greedy in expected]


def test_the_greedy_continuation_is_called_greedy_and_no_other():
    some = model()
    text = "one two"
    more = go_on(some, BYTES, text, [], 3, CPU)
    tokens = BYTES.encode(text)
    drawn: list[int] = []
    for _ in range(3):
        drawn.append(int(some(torch.tensor([tokens + drawn]))[0, -1].argmax()))
    assert more == BYTES.decode(drawn).decode(errors="replace")
    assert answer(some, [Continuation(tokens + drawn, len(tokens))], 1, CPU)[0].greedy
    drawn[1] ^= 1
    assert not answer(some, [Continuation(tokens + drawn, len(tokens))], 1, CPU)[0].greedy


@pytest.mark.parametrize(
    ("context", "continuation", "tokens", "first"),
    [
        ("ab", " c", b"ab c", 2),
        ("ab  ", "c", b"ab  c", 2),
        ("", "ab", b"\0ab", 1),
        ("  ", "ab", b"\0  ab", 1),
        ("é", "", "é".encode(), 2),
    ],
)
def test_white_space_belongs_to_what_follows(context: str, continuation: str, tokens: bytes, first: int):
    assert question(BYTES, context, continuation) == Continuation(list(tokens), first)


class Reciting(torch.nn.Module):
    """Says a text, whatever it is asked."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.text = text

    def start(self, batch: int) -> int:
        return 0

    def advance(self, tokens: torch.Tensor, state: int) -> tuple[torch.Tensor, int]:
        state += tokens.shape[1]
        wanted = torch.tensor([[self.text[state - 1]]])
        return torch.nn.functional.one_hot(wanted, 256).float(), state


@pytest.mark.parametrize(
    ("stops", "most", "said"),
    [
        ([], 5, "hello"),
        (["lo", "l"], 99, "he"),
        (["world"], 99, "hello "),
        (["o w"], 3, "hel"),
        ([], 99, "hello world"),
        ([], 0, ""),
    ],
)
def test_it_goes_on_to_the_first_stop_or_the_end(stops: list[str], most: int, said: str):
    assert go_on(Reciting(b"hello world\0more"), BYTES, "x", stops, most, CPU) == said  # type: ignore[arg-type]
