from __future__ import annotations

import dataclasses

import pytest

from titans.models.config import MemoryConfig, ModelConfig
from titans_lab.bench.pairs import cases, default_study, paired
from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig, SpeedConfig, TrainConfig

CONFIG = RunConfig(model=ModelConfig(variant="lmm"), train=TrainConfig(seq_len=64, batch_size=2))


def with_model(**changes: object) -> RunConfig:
    return dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, **changes))


def with_train(**changes: object) -> RunConfig:
    return dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, **changes))


def test_settings_without_effect_on_the_speed_make_no_case():
    assert len(cases([CONFIG, with_train(lr=1e-4), with_train(tokens=999)], [], None)) == 1
    depths = [with_model(variant="transformer", memory=MemoryConfig(depth=depth)) for depth in (1, 2)]
    assert len(cases(depths, [], None)) == 1
    compiled = dataclasses.replace(CONFIG, speed=SpeedConfig(kernel="compiled"))
    assert len(cases([CONFIG, with_train(precision="bfloat16"), with_train(batch_size=4), compiled], [], None)) == 4


def test_length_and_batch_are_the_configurations_own_unless_given():
    [own] = cases([CONFIG], [], None)
    assert (own.length, own.batch) == (64, 2)
    given = cases([CONFIG, with_train(seq_len=128)], [32, 512], 8)
    assert [(case.length, case.batch) for case in given] == [(32, 8), (512, 8)]


def test_a_pair_differs_in_the_variant_alone():
    found = cases([CONFIG, with_model(variant="mag"), with_train(precision="bfloat16")], [], None)
    pairs = paired(found, "transformer")
    assert [pair.baseline for pair in pairs] == [
        dataclasses.replace(case.model, variant="transformer") for case in found
    ]
    assert [pair.label for pair in pairs] == [
        "variant=lmm train.precision=float32",
        "variant=mag train.precision=float32",
        "variant=lmm train.precision=bfloat16",
    ]


def test_a_baseline_that_cannot_be_is_the_users_to_mend():
    [case] = cases([with_model(segment_len=10)], [], None)
    with pytest.raises(UserError, match=r"^--against mac: segment_len: 10 is not a multiple of memory\.chunk_size"):
        paired([case], "mac")


def test_the_default_is_four_variants_at_two_lengths():
    found = cases([point.config for point in default_study(["model.dim=64"]).points], [], None)
    expected = [(variant, length) for variant in ("lmm", "mac", "mag", "mal") for length in (256, 1024)]
    assert [(case.model.variant, case.length) for case in found] == expected
    assert {case.model.dim for case in found} == {64}
