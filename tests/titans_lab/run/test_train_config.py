"""What `train` refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from titans_lab.run.config import Impossible, RunConfig, build
from titans_lab.run.identity import run_facts


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"train.momentum": 1.0}, "train.momentum: 1.0 is not at least 0 and below 1"),
        ({"train.ema": 1.0}, "train.ema: 1.0 is not at least 0 and below 1"),
        ({"train.decay_ratio": 1.5}, "train.decay_ratio: 1.5 is not between 0 and 1"),
        ({"train.patience": 0}, "train.patience: 0 is below 1"),
        ({"train.patience_every": 0}, "train.patience_every: 0 is below 1"),
        ({"train.patience_bytes": 1}, "train.patience_bytes: 1 leaves nothing to predict"),
        ({"train.patience_delta": -0.1}, "train.patience_delta: -0.1 is negative"),
        (
            {"train.lr_schedule": "wsd", "train.decay_ratio": 0.9, "train.warmup_ratio": 0.2},
            "train.decay_ratio: 0.9 of the steps lower the rate that the first 0.2 (warmup_ratio) raise; lower one of "
            "them",
        ),
        ({"train.decay_groups": " "}, "train.decay_groups: ' ' has no pattern; write patterns"),
        ({"train.decay_groups": "a.*"}, "train.decay_groups: 'a.*' is no pattern with a decay of 0 or more; write"),
        ({"train.decay_groups": "a=-1"}, "train.decay_groups: 'a=-1' is no pattern with a decay of 0 or more"),
        ({"train.decay_groups": "a=nan"}, "train.decay_groups: 'a=nan' is no pattern with a decay of 0 or more"),
        ({"train.decay_groups": "=1"}, "train.decay_groups: '=1' is no pattern with a decay of 0 or more"),
        ({"train.decay_groups": "a=1 a=2"}, "train.decay_groups: 'a=1 a=2' has a twice; remove one"),
        (
            {"train.optimizer": "muon", "speed.devices": 2, "speed.shard": True},
            "speed.shard: Muon needs whole matrices",
        ),
        ({"log.noise_scale": True}, "log.noise_scale: compares the gradient of a micro-batch with that of the whole"),
        (
            {"log.noise_scale": True, "speed.micro_batch": 1, "speed.devices": 2},
            "log.noise_scale: needs one device",
        ),
    ],
)
def test_a_bad_value_is_refused_with_its_key(values: dict[str, Any], said: str) -> None:
    with pytest.raises(Impossible) as caught:
        build(RunConfig, values)
    assert [fault[: len(said)] for fault in caught.value.faults] == [said]


def test_groups_of_decay_are_spelled_in_one_way() -> None:
    one, other = (build(RunConfig, {"train.decay_groups": text}) for text in ("a.*=0.10  b=-0.0", "a.*=0.1 b=0"))
    assert run_facts(one) == run_facts(other)
    assert one.train.decay_groups == "a.*=0.1 b=0"
