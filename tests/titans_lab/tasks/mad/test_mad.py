"""What makes each of MAD's tasks what it is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from generated import asked, config_of, rows, task_of

from titans_lab.run.config import Impossible
from titans_lab.tasks.task import IGNORED

RECALLS = pytest.mark.parametrize(
    ("name", "noise"), [("in_context_recall", None), ("noisy_in_context_recall", 0.2), ("noisy_in_context_recall", 0.8)]
)


def recall(name, noise, training=False, length=128):
    task = task_of(name, length, **({} if noise is None else {"noise": noise}))
    return rows(task, training)


@RECALLS
def test_recall_asks_at_each_known_key_for_the_value_that_it_had(name, noise):
    for tokens, targets in recall(name, noise):
        known, expected = {}, {}
        for place in range(0, 128, 2):
            key, value = tokens[place : place + 2]
            if key >= 16:
                assert 16 <= value < 32
                continue
            assert key < 8 <= value < 16
            if key in known:
                assert value == known[key]
                expected[place] = value
            known[key] = value
        assert {place: targets[place] for place in asked(targets)} == expected
        assert 126 in expected  # the last key was there before


@RECALLS
def test_recall_is_trained_on_every_next_token(name, noise):
    for tokens, targets in recall(name, noise, training=True):
        assert targets == [*tokens[1:], IGNORED]


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.8])
def test_the_share_of_noise_pairs_is_as_set(noise):
    task = task_of("noisy_in_context_recall", 128, noise=noise, test_examples=1000)
    pairs = [tokens[place] >= 16 for tokens, _ in rows(task) for place in range(0, 126, 2)]
    assert np.mean(pairs) == pytest.approx(noise * 62 / 63, abs=0.01)  # one of 63 is a pair for certain


def test_keys_and_values_of_recall_have_equal_chances_and_no_fixed_partner():
    found = [(tokens[0], tokens[1]) for tokens, _ in rows(task_of("in_context_recall", 128, test_examples=6400))]
    assert np.array([count for _, count in sorted(Counter(found).items())]) / 100 == pytest.approx(np.ones(64), abs=0.5)


def test_the_last_key_of_recall_is_any_of_those_that_came():
    drawn = Counter()
    for tokens, _ in rows(task_of("in_context_recall", 6, vocabulary=64, test_examples=4000)):
        drawn[[tokens[0], tokens[2]].index(tokens[4])] += 1
    assert drawn[0] / 4000 == pytest.approx(0.5 + 0.5 / 32, abs=0.03)


def motifs(tokens: list[int], vocabulary: int) -> list[tuple[int, ...]]:
    """Runs of tokens of one kind: padding, keys, values."""
    kinds = [0 if token == vocabulary - 1 else 1 if token < (vocabulary - 1) // 2 else 2 for token in tokens]
    runs: list[list[int]] = []
    for place, token in enumerate(tokens):
        if place == 0 or kinds[place] != kinds[place - 1]:
            runs.append([])
        runs[-1].append(token)
    return [tuple(run) for run in runs if run[0] != vocabulary - 1]


def fuzzy_pairs(tokens, vocabulary):
    found = motifs(tokens, vocabulary)
    return list(zip(found[::2], found[1::2], strict=len(found) % 2 == 0))


def test_fuzzy_keys_have_one_value_in_a_sequence_and_the_last_one_came_before():
    for training in (True, False):
        for tokens, targets in rows(task_of("fuzzy_in_context_recall", 128), training):
            whole = [*tokens, targets[-1]]
            pairs = fuzzy_pairs(whole, 16)
            known = {}
            for key, value in pairs:
                assert known.setdefault(key, value) == value
                assert len(set(key)) == len(key) <= 3
                assert len(set(value)) == len(value) <= 3
                assert training or len(key) == 3
            assert pairs[-1] in pairs[:-1]
            padding = whole.count(15)
            assert whole[:padding] == [15] * padding
            assert padding <= 12


def test_fuzzy_recall_asks_for_each_token_of_a_known_keys_value():
    for tokens, targets in rows(task_of("fuzzy_in_context_recall", 128)):
        whole = [*tokens, targets[-1]]
        place, known, expected = whole.count(15), set(), {}
        for key, value in fuzzy_pairs(whole, 16):
            start = place + len(key)
            if key in known:
                expected |= {start + i - 1: token for i, token in enumerate(value)}
            known.add(key)
            place = start + len(value)
        assert {place: targets[place] for place in asked(targets)} == expected


def test_fuzzy_training_has_keys_and_values_of_all_sizes_and_every_next_token_as_target():
    sizes = Counter()
    for tokens, targets in rows(task_of("fuzzy_in_context_recall", 128), training=True):
        assert targets[:-1] == tokens[1:]
        sizes.update((len(key), len(value)) for key, value in fuzzy_pairs([*tokens, targets[-1]], 16))
    assert set(sizes) == {(key, value) for key in (1, 2, 3) for value in (1, 2, 3)}


@pytest.mark.parametrize(("length", "copied"), [(256, 16), (40, 3), (34, 16), (8, 3)])
def test_copying_wants_the_tokens_in_their_order_after_the_sign(length, copied):
    for tokens, targets in rows(task_of("selective_copying", length, copied=copied)):
        sign = tokens.index(15)
        assert sign == length - copied - 1
        assert tokens[sign - 1] < 14
        assert [token for token in tokens[:sign] if token != 14] == targets[sign + 1 :]
        assert tokens[sign + 1 :] == [14] * copied
        assert set(targets[: sign + 1]) == {IGNORED}


def test_each_blank_is_before_any_token_by_equal_chances():
    before = np.zeros(4)
    for tokens, _ in rows(task_of("selective_copying", 60, copied=4, test_examples=2000)):
        places = [place for place, token in enumerate(tokens[:55]) if token != 14]
        before += np.diff([-1, *places]) - 1
    assert before / before.sum() == pytest.approx(np.full(4, 0.25), abs=0.01)


@pytest.mark.parametrize("vocabulary", [4, 5, 256])
def test_memorised_facts_are_one_to_one_and_the_same_everywhere(vocabulary):
    tasks = [task_of("memorization", 32, seed=seed, vocabulary=vocabulary) for seed in (0, 1)]
    facts = {}
    for tokens, targets in [*rows(tasks[0]), *rows(tasks[0], training=True), *rows(tasks[1], training=True)]:
        assert tokens[1::2] == [vocabulary - 1] * 16
        assert asked(targets) == list(range(1, 32, 2))
        for key, value in zip(tokens[0::2], targets[1::2], strict=True):
            assert key < (vocabulary - 1) // 2 <= value < vocabulary - 1
            assert facts.setdefault(key, value) == value
    assert len(set(facts.values())) == len(facts) == (vocabulary - 1) // 2


def test_compression_wants_all_that_was_read():
    for tokens, targets in rows(task_of("compression", 32)):
        assert tokens == targets
        assert tokens[-1] == 15
        assert max(tokens[:-1]) < 15


@pytest.mark.parametrize(
    ("name", "length", "settings", "words"),
    [
        ("in_context_recall", 127, {}, "^train.seq_len: 127 is not an even number of at least 4"),
        ("in_context_recall", 128, {"vocabulary": 1}, "^task.in_context_recall.vocabulary: 1 is below the 2"),
        ("noisy_in_context_recall", 128, {"noise": 1.0}, "^task.noisy_in_context_recall.noise: 1.0 is not"),
        ("noisy_in_context_recall", 128, {"vocabulary": 17}, "vocabulary: 17 is below the 18"),
        ("fuzzy_in_context_recall", 12, {}, "^train.seq_len: 12 is not at least 13"),
        ("fuzzy_in_context_recall", 64, {"vocabulary": 6}, "vocabulary: 6 is below the 7"),
        ("selective_copying", 33, {}, "^train.seq_len: 33 is not at least 34"),
        ("memorization", 31, {}, "^train.seq_len: 31 is not an even"),
        ("compression", 1, {}, "^train.seq_len: 1 is not at least 2"),
        ("compression", 32, {"examples": 4}, "^task.compression.examples: 4 are less than a batch"),
        (
            "compression",
            32,
            {"vocabulary": 9000},
            "^model.vocab_size: 8192 is below the 9000 tokens of task.comp",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_the_key_to_set(name, length, settings, words):
    with pytest.raises(Impossible, match=words):
        config_of(name, length, **settings)


@pytest.mark.parametrize(
    ("name", "length", "settings"),
    [
        ("in_context_recall", 4, {"vocabulary": 2}),
        ("noisy_in_context_recall", 4, {"vocabulary": 3, "noise_vocabulary": 1, "noise": 0.9}),
        ("fuzzy_in_context_recall", 13, {"vocabulary": 7}),
        ("selective_copying", 4, {"vocabulary": 4, "copied": 1}),
        ("memorization", 2, {"vocabulary": 4}),
        ("compression", 2, {"vocabulary": 3}),
    ],
)
def test_the_smallest_settings_that_are_taken_give_examples(name, length, settings):
    for training in (True, False):
        assert all(asked(targets) for _, targets in rows(task_of(name, length, **settings), training))
