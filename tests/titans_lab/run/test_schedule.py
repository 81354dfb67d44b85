"""`train.schedule`: what a text means, and the steps, lengths, costs and refusals that follow from it."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from titans.models.cost import train_flops_per_token
from titans_lab.run import derived
from titans_lab.run.config import Impossible, RunConfig, build
from titans_lab.run.identity import run_id
from titans_lab.run.run import Run, batches
from titans_lab.run.schedule import LengthSchedule, parse_schedule
from titans_lab.run.sections import TrainConfig

STAGES = "128 25% then 256 25% then 512 50%"


def config(schedule: str | None, **values: object) -> RunConfig:
    train = {"train.seq_len": 512, "train.batch_size": 4, "train.tokens": 204_800, "train.schedule": schedule}
    return build(RunConfig, train | {key.replace("__", "."): value for key, value in values.items()})


def lengths(train: TrainConfig) -> list[int]:
    return [train.length(step) for step in range(train.steps)]


def test_stages_follow_one_another_with_their_shares_of_the_steps() -> None:
    train = config(STAGES).train
    assert lengths(train) == [128] * 25 + [256] * 25 + [512] * 50
    assert train.lengths == {128: 0.25, 256: 0.25, 512: 0.5}


def test_a_length_may_come_back() -> None:
    train = config("128 then 512 then 128 then 512").train
    assert lengths(train) == ([128] * 25 + [512] * 25) * 2
    assert train.lengths == {128: 0.5, 512: 0.5}


def test_a_mixture_has_its_shares_in_every_part_of_the_run_and_depends_on_the_step_alone() -> None:
    train = config("128 20% or 256 30% or 512 50%").train
    drawn = lengths(train)
    for begin in (0, 30, 60):
        counts = Counter(drawn[begin : begin + 40])
        assert all(abs(counts[length] - 40 * share) <= 2 for length, share in train.lengths.items())
    longer = config("128 20% or 256 30% or 512 50%", train__tokens=409_600).train
    assert lengths(longer)[: len(drawn)] == drawn


@pytest.mark.parametrize("schedule", [STAGES, "128 or 512", None])
def test_every_step_has_the_same_tokens(schedule: str | None) -> None:
    train = config(schedule).train
    for length in set(lengths(train)):
        at = train.at_length(length)
        assert (at.seq_len, at.seq_len * at.batch_size, at.steps) == (length, 4 * 512, train.steps)
    assert train.steps == 100
    assert derived.tokens(config(schedule)) == 204_800


def test_costs_are_means_over_the_lengths() -> None:
    model = {"model__variant": "transformer"}
    each = [train_flops_per_token(config(None, **model).model, length, 2048 // length) for length in (128, 256, 512)]
    assert derived.flops_per_token(config(STAGES, **model)) == round(each[0] / 4 + each[1] / 4 + each[2] / 2)
    assert derived.flops_per_token(config(None, **model)) == each[2]
    assert derived.state(config(STAGES, **model)) == derived.state(config(None, **model))


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("128 then 512", "128 then 512"),
        ("128 50% then 512 50%", "128 then 512"),
        ("  128  50.0 %  or 512 50%", "128 or 512"),
        (STAGES, STAGES),
        ("512", None),
        ("512 then 512", None),
    ],
)
def test_equal_schedules_are_spelt_alike_and_are_the_same_run(text: str, spelt: str | None) -> None:
    assert config(text).train.schedule == spelt
    assert run_id(config(text), 0, "a") == run_id(config(spelt), 0, "a")
    assert (run_id(config(text), 0, "a") == run_id(config(None), 0, "a")) is (spelt is None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no schedule; write such as 128 25% then 256 25% then 512 50%"),
        ("128, 256", "'128, 256' is no schedule"),
        ("128 then", "'128 then' is no schedule"),
        ("128 then 256 or 512", "has both then and or"),
        ("128 30% then 512", "has a share for some lengths only; give all of them one, or none"),
        ("128 30% then 512 60%", "its shares are not above 0 with a sum of 100 %, but of 90 %"),
        ("128 0% then 512 100%", "its shares are not above 0"),
        ("0 then 512", "has a length of 0"),
        ("128 then 1024", "1024 is longer than seq_len (512); raise seq_len"),
        ("100 then 512", "100 does not divide the 2048 tokens of a step (batch_size x seq_len)"),
    ],
)
def test_what_is_no_schedule_is_refused_with_a_remedy(text: str, words: str) -> None:
    with pytest.raises(Impossible, match=re.escape("train.schedule: ")) as refused:
        config(text)
    assert words in str(refused.value)


def test_a_length_that_the_task_refuses_is_named() -> None:
    with pytest.raises(Impossible, match=r"train\.schedule: has a length of 64, for which train\.seq_len: 64 is below"):
        config("64 then 512", task__name="needle", task__needle__template="brief")
    config("128 then 512", task__name="needle", task__needle__template="brief")
    with pytest.raises(Impossible, match=r"train\.schedule: a forecast reads a past of one length"):
        build(
            RunConfig,
            {"task.name": "series", "data.path": "a.csv", "train.seq_len": 12, "train.schedule": "6 then 12"},
        )


def test_runs_are_paired_where_their_lengths_are_the_same_at_each_step() -> None:
    def run(schedule: str | None, **values: object) -> tuple[object, ...]:
        return batches(Run("id", config(schedule, **values), 0, "a", {}))

    assert run(STAGES) == run(STAGES, model__variant="lmm") != run(None)
    assert run(STAGES) != run(STAGES, train__tokens=409_600)
    assert run(None) == run(None, train__tokens=409_600)


def test_the_text_of_a_schedule_is_read_back() -> None:
    for schedule in (
        LengthSchedule((8, 16), (0.125, 0.875), mixed=True),
        LengthSchedule((8, 4, 8), (0.5, 0.25, 0.25), mixed=False),
    ):
        assert parse_schedule(str(schedule)) == schedule
