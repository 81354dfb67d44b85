"""What holds for every generated task."""

from __future__ import annotations

import hashlib
import sys

import pytest
import torch
import torch.nn.functional as F
from generated import CPU, config_of, rows, task_of
from torch import nn
from workbench import run

from titans.models.language_model import LanguageModel
from titans_lab.tasks.task import IGNORED, build_task, judging, overall

LENGTHS = {
    "mqar": 32,
    "in_context_recall": 32,
    "noisy_in_context_recall": 32,
    "fuzzy_in_context_recall": 32,
    "selective_copying": 40,
    "memorization": 16,
    "compression": 12,
}
#: The first batch and the test set, by task: a change here means that the task's VERSION has to be raised.
GOLDEN = {
    "mqar": (2, "5018166d163e388c"),
    "in_context_recall": (2, "9ccb03d35dc80374"),
    "noisy_in_context_recall": (2, "dc314728d67c5a93"),
    "fuzzy_in_context_recall": (2, "a2d5cd96a92183d0"),
    "selective_copying": (2, "e677d1008e2b119c"),
    "memorization": (2, "02b0f8cf6e6a7606"),
    "compression": (2, "82bf0e374a10a5c8"),
}
TINY = {"variant": "transformer", "dim": 16, "n_layers": 1, "n_heads": 2}
TASK_NAMES = pytest.mark.parametrize("name", LENGTHS)

IN_ANOTHER_PROCESS = """
import sys
sys.path.append(sys.argv[1])
from generated import task_of
print(task_of("fuzzy_in_context_recall", 32, seed=3).sample(7)[0].tolist())
"""


def same(one, other) -> bool:
    return all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


@TASK_NAMES
def test_the_examples_are_those_of_this_version(name):
    task = task_of(name, LENGTHS[name], seed=1)
    text = repr([x.tolist() for x in task.sample(2)]) + repr(rows(task)[:20])
    assert (task.settings.VERSION, hashlib.sha256(text.encode()).hexdigest()[:16]) == GOLDEN[name]


@TASK_NAMES
def test_a_batch_follows_from_seed_and_step_alone(name):
    first, again = task_of(name, LENGTHS[name]), task_of(name, LENGTHS[name])
    batches = [first.sample(step) for step in range(60)]
    assert all(same(batches[step], again.sample(step)) for step in (59, 0, 3, 58, 3))
    other = task_of(name, LENGTHS[name], seed=1)
    assert not any(same(batches[step], other.sample(step)) for step in range(3))


def test_a_batch_is_the_same_in_another_process():
    helpers = next(path for path in sys.path if path.endswith("helpers"))
    elsewhere = run([sys.executable, "-c", IN_ANOTHER_PROCESS, helpers])
    here = task_of("fuzzy_in_context_recall", 32, seed=3).sample(7)[0].tolist()
    assert elsewhere.stdout.strip() == str(here), elsewhere.stderr


@TASK_NAMES
def test_an_epoch_has_every_example_once_and_the_next_one_another_order(name):
    task = task_of(name, LENGTHS[name], batch=8, examples=48)
    known = sorted(tokens for tokens, _ in rows(task, training=True))
    steps = [range(begin, begin + 6) for begin in (0, 6, 60)]
    epochs = [[row for step in epoch for row in task.sample(step)[0].tolist()] for epoch in steps]
    assert all(sorted(epoch) == known for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_each_epoch_is_shuffled_once():
    task = task_of("selective_copying", LENGTHS["selective_copying"], batch=8, examples=48)
    for step in range(30):
        task.sample(step)
    assert task.order.cache_info().misses == 5


@TASK_NAMES
def test_the_rest_of_an_epoch_differs_from_epoch_to_epoch(name):
    task = task_of(name, LENGTHS[name], batch=8, examples=20)
    seen = {tuple(row) for step in range(40) for row in task.sample(step)[0].tolist()}
    assert len(task.order(0)) == 2
    assert seen == {tuple(tokens) for tokens, _ in rows(task, training=True)}


@TASK_NAMES
def test_no_two_parts_share_a_sequence_and_all_but_training_are_the_same_for_all_seeds(name):
    task = task_of(name, LENGTHS[name])
    trained, tested = ({tuple(tokens) for tokens, _ in rows(task, training=way)} for way in (True, False))
    validated = {tuple(tokens) for tokens, _ in rows(task, split="valid")}
    assert not trained & tested
    assert not validated & (trained | tested)
    assert rows(task, split="valid") == rows(task_of(name, LENGTHS[name], seed=5), split="valid")
    assert len(trained) > 390
    assert rows(task) == rows(task_of(name, LENGTHS[name], seed=5))
    assert rows(task, training=True) != rows(task_of(name, LENGTHS[name], seed=5), training=True)


def test_an_endless_set_never_comes_again():
    task = task_of("mqar", 32, examples=None, batch=4)
    seen = [tuple(row) for step in range(100) for row in task.sample(step)[0].tolist()]
    assert len(set(seen)) == 400


@TASK_NAMES
def test_the_losses_are_sums_over_answers_and_do_not_depend_on_how_a_batch_is_split(name):
    config = config_of(name, LENGTHS[name], model=TINY)
    task = build_task(config, 0)
    model, (inputs, targets) = task.model(config, 0), task.sample(0)
    losses = task.losses(model, (inputs, targets))
    whole = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    assert losses.shape == (8,)
    assert (losses.sum() / task.terms((inputs, targets))).item() == pytest.approx(whole.item(), rel=1e-5)
    parts = [task.losses(model, (inputs[i : i + 3], targets[i : i + 3])) for i in (0, 3, 6)]
    assert torch.allclose(torch.cat(parts), losses, rtol=1e-4)


@TASK_NAMES
def test_the_evaluation_is_over_every_answer_of_the_test_set(name):
    config = config_of(name, LENGTHS[name], model=TINY)
    task = build_task(config, 0)
    model = task.model(config, 0)
    inputs, targets = (torch.tensor(x) for x in zip(*rows(task), strict=True))
    early, answers = (torch.tensor(x)[:100] for x in zip(*rows(task, split="valid"), strict=True))
    wanted = targets != IGNORED
    with judging(model):
        logits = model(inputs)[wanted].double()
        scores = task.evaluate(model, CPU)
        part = overall(task.evaluate(model, CPU, limit=100 * LENGTHS[name]), "valid")
        expected = F.cross_entropy(model(early)[answers != IGNORED].double(), answers[answers != IGNORED]).item()
    assert {score.count for score in scores if score.split == "test"} == {int(wanted.sum())}
    assert overall(scores) == {
        "loss": pytest.approx(F.cross_entropy(logits, targets[wanted]).item(), rel=1e-5),
        "accuracy": pytest.approx((logits.argmax(-1) == targets[wanted]).double().mean().item()),
    }
    assert part["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_perfect_model_is_right_and_an_ignorant_one_is_not():
    task = task_of("memorization", 16, vocabulary=12)
    facts = dict(enumerate(task.facts()))

    class Knowing(nn.Module):
        def logits_at(self, tokens, wanted):
            keys = tokens.roll(1, 1)[wanted]
            return F.one_hot(torch.tensor([facts[key] for key in keys.tolist()]), 12) * 50.0

    class Ignorant(nn.Module):
        def logits_at(self, tokens, wanted):
            return torch.zeros(int(wanted.sum()), 12)

    assert overall(task.evaluate(Knowing(), CPU)) == {"loss": pytest.approx(0, abs=1e-6), "accuracy": 1.0}
    unknown = overall(task.evaluate(Ignorant(), CPU))
    assert unknown == {"loss": pytest.approx(torch.tensor(12.0).log().item()), "accuracy": 0.0}


@TASK_NAMES
def test_the_data_have_a_name_without_torch(name):
    config, task = config_of(name, LENGTHS[name]), task_of(name, LENGTHS[name])
    assert (config.data_digest(), config.data_source()) == (task.digest, task.source)
    assert task.source == f"generated by {name}"


def test_a_language_model_gives_the_same_logits_at_some_places_as_at_all():
    config = config_of("mqar", 32, model=TINY).model
    model, tokens = LanguageModel(config), torch.randint(8192, (3, 17))
    wanted = torch.rand(3, 17) < 0.3
    assert torch.allclose(model.logits_at(tokens, wanted), model(tokens)[wanted], atol=1e-5)
