from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from draws import generator
from generated import asked, config_of, rows, task_of

from titans_lab.run.config import Impossible
from titans_lab.tasks.mqar import SUITE_TESTS, SUITE_TRAINING
from titans_lab.tasks.mqar.task import query_places


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("length", "pairs", "vocabulary"), [(64, 4, 8192), (64, 16, 100), (10, 1, 32), (130, 32, 512)])
def test_every_key_is_asked_for_once_and_its_value_is_in_the_context(length, pairs, vocabulary, training):
    for tokens, targets in rows(task_of("mqar", length, pairs=pairs, vocabulary=vocabulary), training):
        keys, values = tokens[0 : 2 * pairs : 2], tokens[1 : 2 * pairs : 2]
        assert all(0 < key < vocabulary // 2 <= value < vocabulary for key, value in zip(keys, values, strict=True))
        assert len(set(keys)) == len(set(values)) == pairs
        places = asked(targets)
        assert all(place >= 2 * pairs and place % 2 == 0 for place in places)
        assert {tokens[place]: targets[place] for place in places} == dict(zip(keys, values, strict=True))
        assert len(places) == pairs


def test_without_filler_there_are_zeros_between_the_queries():
    for tokens, targets in rows(task_of("mqar", 32, pairs=3, filler=False)):
        assert [place for place, token in enumerate(tokens) if token] == [*range(6), *asked(targets)]


def test_filler_is_any_token_and_gives_no_value_away():
    places = Counter()
    for tokens, targets in rows(task_of("mqar", 64, pairs=4, test_examples=2000)):
        rest = [token for place, token in enumerate(tokens[8:], 8) if place not in asked(targets)]
        places["low"] += sum(token < 4096 for token in rest)
        places["high"] += sum(token >= 4096 for token in rest)
        places["given"] += sum(tokens[place + 1] == targets[place] for place in asked(targets) if place < 63)
    assert places["low"] / (places["low"] + places["high"]) == pytest.approx(0.5, abs=0.01)
    assert places["given"] <= 10  # chance: 8,000 queries over 8,192 tokens


def test_a_gap_is_drawn_by_the_power_law():
    drawn = query_places(generator(), 0.01, 20, 40_000, 1)[:, 0]
    weights = 0.01 * np.arange(1, 21) ** (0.01 - 1)
    assert np.bincount(drawn, minlength=20) / 40_000 == pytest.approx(weights / weights.sum(), abs=0.01)


def test_several_gaps_are_drawn_in_turn_without_the_taken_ones():
    drawn = query_places(generator(), 0.5, 4, 60_000, 2)
    weights = np.arange(1, 5) ** -0.5
    chances = weights / weights.sum()
    assert (drawn[:, 0] != drawn[:, 1]).all()
    for first in range(4):
        for second in set(range(4)) - {first}:
            expected = chances[first] * chances[second] / (1 - chances[first])
            found = ((drawn[:, 0] == first) & (drawn[:, 1] == second)).mean()
            assert found == pytest.approx(expected, abs=0.01)


def test_a_power_of_one_is_uniform_and_all_places_can_be_taken():
    drawn = query_places(generator(), 1.0, 5, 20_000, 5)
    assert (np.sort(drawn) == np.arange(5)).all()
    assert np.bincount(drawn[:, 0]) / 20_000 == pytest.approx(np.full(5, 0.2), abs=0.02)


def test_the_suite_has_zoologys_sets():
    task = task_of("mqar", 256, batch=4, suite=True)
    found = [[(part.length, int(part.setting[6:]), part.count) for part in task.parts(way)] for way in (True, False)]
    assert found == [list(SUITE_TRAINING), list(SUITE_TESTS)]


def test_a_step_of_the_suite_is_of_one_kind_and_has_as_many_tokens(monkeypatch):
    small = tuple((length, pairs, count // 625) for length, pairs, count in SUITE_TRAINING)
    monkeypatch.setattr("titans_lab.tasks.mqar.task.SUITE_TRAINING", small)
    task = task_of("mqar", 256, batch=4, suite=True)
    kinds = Counter()
    for step in range(len(task.order(0))):
        inputs, targets = task.sample(step)
        assert inputs.numel() == targets.numel() == 4 * 256
        pairs = {len(asked(row)) for row in targets.tolist()}
        assert len(pairs) == 1
        kinds[inputs.shape[1], pairs.pop()] += len(inputs)
    assert kinds == {(length, pairs): count for length, pairs, count in small}


@pytest.mark.parametrize(
    ("length", "settings", "words"),
    [
        (64, {"pairs": 17}, "^train.seq_len: 64 is not an even number of at least 68 tokens"),
        (65, {"pairs": 4}, "^train.seq_len: 65 is not an even number of at least 16"),
        (64, {"vocabulary": 8194}, "^model.vocab_size: 8192 is below the 8194 tokens of task.mqar.vocabulary"),
        (64, {"vocabulary": 16, "pairs": 8}, "^task.mqar.vocabulary: half of 16 is too little for 8 different keys"),
        (64, {"pairs": 0}, "^task.mqar.pairs: 0 is below 1"),
        (64, {"gap_power": 0.0}, "^task.mqar.gap_power: 0.0 is not above 0"),
        (64, {"examples": 7}, "^task.mqar.examples: 7 are less than a batch"),
        (128, {"suite": True}, "^train.seq_len: 128 is not 256"),
        (256, {"suite": True, "vocabulary": 512}, "^task.mqar.vocabulary: half of 512 is too little for 256"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_the_key_to_set(length, settings, words):
    with pytest.raises(Impossible, match=words):
        config_of("mqar", length, **settings)
