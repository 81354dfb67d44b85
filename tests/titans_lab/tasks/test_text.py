from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from draws import generator
from torch import nn
from workbench import run

from titans.models.config import MemoryConfig, ModelConfig
from titans.models.language_model import LanguageModel
from titans_lab.data.corpus import Corpus
from titans_lab.errors import UserError
from titans_lab.tasks.task import overall
from titans_lab.tasks.text.task import TextTask, bits_per_token, evaluate, position_segments

CPU = torch.device("cpu")

IN_ANOTHER_PROCESS = """
import numpy, torch
from titans_lab.data.corpus import Corpus
from titans_lab.tasks.text.task import TextTask
text = numpy.arange(5000, dtype=numpy.uint8) * 37
inputs, targets = TextTask(Corpus("a text", "d1", text[:4000], text[4000:4500], text[4500:]), 3, 16, 4).sample(5)
print(torch.cat((inputs, targets)).tolist())
"""


def corpus(train: int = 4000, valid: int = 1000, digest: str = "d1") -> Corpus:
    """A text whose windows of 16 bytes are all different."""
    random = np.random.default_rng(0)
    parts = random.integers(0, 128, train, np.uint8), random.integers(128, 192, valid, np.uint8)
    return Corpus("a text", digest, *parts, random.integers(192, 256, valid, np.uint8))


def task(**changes: Any) -> TextTask:
    given = {"corpus": corpus(), "seed": 3, "length": 16, "batch": 4} | changes
    return TextTask(**given)


def test_targets_are_the_inputs_one_byte_on():
    inputs, targets = task().sample(0)
    assert inputs.shape == targets.shape == (4, 16)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    text = corpus().train.tobytes()
    for row in range(4):
        assert bytes([*inputs[row].tolist(), targets[row, -1].item()]) in text


def test_a_batch_is_the_same_in_any_order_and_whatever_else_is_drawn():
    first = [task().sample(step)[0] for step in range(5)]
    torch.rand(7)
    generator().random(7)
    again = task()
    assert all(torch.equal(again.sample(step)[0], first[step]) for step in (4, 0, 2, 2, 1, 3))


def test_a_batch_is_the_same_in_another_process():
    text = np.arange(5000, dtype=np.uint8) * 37
    inputs, targets = task(corpus=Corpus("a text", "d1", text[:4000], text[4000:4500], text[4500:])).sample(5)
    elsewhere = run([sys.executable, "-c", IN_ANOTHER_PROCESS])
    assert elsewhere.stdout.strip() == str(torch.cat((inputs, targets)).tolist()), elsewhere.stderr


@pytest.mark.parametrize(
    "change",
    [{"seed": 4}, {"length": 17}, {"batch": 5}, {"corpus": corpus(digest="d2")}, {"step": 6}],
    ids=lambda change: next(iter(change)),
)
def test_a_batch_follows_data_seed_step_length_and_batch(change: dict[str, Any]):
    step = change.pop("step", 5)
    text = corpus().train.tobytes()
    before, after = (
        [text.index(bytes(row[:16].tolist())) for row in inputs]
        for inputs in (task().sample(5)[0], task(**change).sample(step)[0])
    )
    near = [abs(one - other) <= 2 for one, other in zip(before, after, strict=False)]
    assert sum(near) <= 1  # of four; one is chance


def test_windows_reach_both_ends_of_the_training_part_and_nothing_else():
    small = task(corpus=corpus(train=19, valid=40))
    seen = torch.cat([torch.cat(small.sample(step)) for step in range(40)])
    text = small.corpus.train
    assert {tuple(row.tolist()) for row in seen} == {tuple(text[i : i + 16].tolist()) for i in range(4)}


def test_training_validation_and_test_share_no_byte():
    some = task()
    trained = torch.cat([torch.cat(some.sample(step)) for step in range(50)])
    valid, test = (
        torch.cat([torch.cat(pair, 1).flatten() for pair in some.windows(part)]) for part in ("valid", "test")
    )
    assert trained.max() < 128 <= valid.min()
    assert valid.max() < 192 <= test.min()
    assert valid.min() <= some.inputs(100).min()
    assert some.inputs(100).max() < 192


def test_the_final_figures_are_of_the_test_part_and_those_on_the_way_of_validation():
    some, model = task(), nn.Embedding(256, 256)
    scores = some.evaluate(model, CPU)
    expected = {part: evaluated(model, some, part) for part in ("valid", "test")}
    assert expected["valid"] != expected["test"]
    assert {part: overall(scores, part)["loss"] for part in expected} == expected
    partial = some.evaluate(model, CPU, 100)
    assert {score.split for score in partial} == {"valid"}
    assert {score.split for score in scores if score.position is not None} == {"test"}


def evaluated(model: nn.Module, some: TextTask, part: str) -> float:
    """Bits per byte over a part, without context."""
    tokens = torch.from_numpy(getattr(some.corpus, part).astype(np.int64))
    bits = F.cross_entropy(model(tokens[:-1]), tokens[1:]).item() / math.log(2)
    return pytest.approx(bits, rel=1e-5)


@pytest.mark.parametrize("limit", [None, 2, 17, 18, 33, 64, 5000])
@pytest.mark.parametrize(("length", "batch"), [(1, 1), (16, 4), (16, 100), (7, 3), (999, 2), (1000, 2)])
def test_validation_covers_every_byte_but_the_first_once(length: int, batch: int, limit: int | None):
    some = task(length=length, batch=batch)
    windows = list(some.windows("valid", limit))
    part = torch.from_numpy(some.corpus.valid[:limit].astype(np.int64))
    assert torch.equal(torch.cat([inputs.flatten() for inputs, _ in windows]), part[:-1])
    assert torch.equal(torch.cat([targets.flatten() for _, targets in windows]), part[1:])
    assert all(inputs.shape[0] <= batch and inputs.shape[1] <= length for inputs, _ in windows)
    assert all(inputs.shape == targets.shape for inputs, targets in windows)


@pytest.mark.parametrize("limit", [None, 100])
@pytest.mark.parametrize(("length", "batch"), [(16, 4), (13, 1), (2000, 3)])
def test_the_loss_is_the_mean_over_bytes_in_bits(length: int, batch: int, limit: int | None):
    model = nn.Embedding(256, 256)  # each byte predicts the next one without context: windows make no difference
    some = task(length=length, batch=batch)
    part = some.corpus.valid[:limit].astype(np.int64)
    logits = model.weight.detach().double().numpy()
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log2(chances[part[:-1], part[1:]]).mean()
    assert evaluate(model, some, CPU, limit) == pytest.approx(expected, rel=1e-5)


def test_the_validation_loss_does_not_depend_on_the_batch():
    memory = MemoryConfig(chunk_size=8)
    model = LanguageModel(ModelConfig(variant="mag", dim=16, n_layers=1, n_heads=2, window=8, memory=memory))
    losses = [evaluate(model, task(batch=batch), CPU) for batch in (1, 3, 64)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


def test_validation_leaves_the_model_in_training_without_gradients():
    model = LanguageModel(ModelConfig(variant="transformer", dim=16, n_layers=1, n_heads=2))
    evaluate(model, task(), CPU, 100)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def figures(some: TextTask, model: nn.Module, limit: int | None = None) -> dict[str, tuple[float, int]]:
    scores = [score for score in some.evaluate(model, CPU, limit) if score.split == "valid"]
    return {score.metric.name: (score.value, score.count) for score in scores}


@pytest.mark.parametrize("limit", [None, 300])
def test_perplexities_are_of_the_words_and_the_tokens_that_are_predicted(limit: int | None):
    text = b"one two  three\nfour\0five six " * 40
    tokens = np.frombuffer(text, np.uint8)
    some = task(corpus=Corpus("a text", "d1", tokens, tokens, tokens))
    model = nn.Embedding(256, 256)
    found, rest = figures(some, model, limit), text[1:limit]
    nats = found["loss"][0] * math.log(2) * len(rest)
    words = sum(len(re.split(r"\s+", document)) for document in rest.decode().split("\0"))
    assert found["loss"] == (evaluate(model, some, CPU, limit), len(rest))
    assert found["word_perplexity"] == (pytest.approx(math.exp(nats / words)), words)
    assert found["token_perplexity"] == (pytest.approx(math.exp(nats / len(rest))), len(rest))


def test_the_loss_by_position_is_that_of_the_tokens_at_those_places():
    some = task(length=11, batch=3)
    model = nn.Embedding(256, 256)
    inputs, targets = (torch.cat(parts) for parts in zip(*list(some.windows("test"))[:-1], strict=True))
    last_inputs, last_targets = list(some.windows("test"))[-1]  # the shorter rest
    assert 0 < last_inputs.shape[1] < 11
    found = {each.position: (each.value, each.count) for each in some.evaluate(model, CPU) if each.position is not None}
    assert list(found) == [0, 1, 2, 3, 4, 6, 8]
    for begin, end in pairwise([*found, 11]):
        losses = [
            F.cross_entropy(model(x)[:, begin:end].flatten(0, 1), y[:, begin:end].flatten(), reduction="none")
            for x, y in ((inputs, targets), (last_inputs, last_targets))
        ]
        wanted = torch.cat(losses) / math.log(2)
        assert found[begin] == (pytest.approx(wanted.mean().item(), rel=1e-5), len(wanted))


def test_an_evaluation_during_training_has_no_loss_by_position():
    assert all(score.position is None for score in task().evaluate(zeros(), CPU, 100))


def test_segments_are_two_an_octave():
    assert [position_segments(length) for length in (1, 2, 7, 8, 9)] == [
        [0], [0, 1], [0, 1, 2, 3, 4, 6], [0, 1, 2, 3, 4, 6], [0, 1, 2, 3, 4, 6, 8],
    ]  # fmt: skip


def test_a_perplexity_beyond_floats_is_infinite():
    tokens = np.full(3000, ord("x"), np.uint8)  # one word
    assert figures(task(corpus=Corpus("a text", "d1", tokens, tokens, tokens)), zeros())["word_perplexity"] == (
        math.inf,
        1,
    )


def zeros() -> nn.Module:
    model = nn.Embedding(256, 256)
    nn.init.zeros_(model.weight)
    return model


def test_a_model_that_knows_nothing_needs_eight_bits():
    model = zeros()
    assert bits_per_token(model, *task().sample(0)).item() == pytest.approx(8.0)
    assert math.isclose(evaluate(model, task(), CPU), 8.0, rel_tol=1e-6)


def test_a_text_must_hold_one_window():
    fits = replace(corpus(), train=corpus().train[:17])
    inputs, targets = task(corpus=fits).sample(0)
    assert torch.equal(inputs[0], torch.from_numpy(fits.train[:16].astype(np.int64)))
    assert targets[0, -1] == int(fits.train[16])
    with pytest.raises(UserError, match=r"^train\.seq_len: 17 .* the 17 tokens that a text has .*lower train\.seq_len"):
        task(corpus=fits, length=17)
