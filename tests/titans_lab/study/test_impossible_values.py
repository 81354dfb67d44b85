"""Values that no run can have are refused when the study is read, not by each of its runs."""

from __future__ import annotations

import pytest

from titans_lab.data.corpus import corpus_digest
from titans_lab.errors import UserError
from titans_lab.run.config import DataConfig
from titans_lab.study.study import load_study


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.vocab_size=16", "model.vocab_size: 16 is below the 256 values of a byte"),
        ("train.beta1=1", "train.beta1: 1.0 is not at least 0 and below 1"),
        ("train.beta2=1.0", "train.beta2: 1.0 is not at least 0 and below 1"),
        ("log.valid_every=-1", "log.valid_every: -1 is negative"),
        ("log.memory_every=-1", "log.memory_every: -1 is negative"),
        ("log.memory_tokens=0", "log.memory_tokens: 0 is below 1"),
        ("speed.profile=-1", "speed.profile: -1 is negative"),
        ("speed.profile=971", "speed.profile: needs 977 steps, and train.tokens come to 976"),
        ("speed.devices=0", "speed.devices: 0 is below 1"),
        ("speed.devices=5", "speed.devices: 5 devices cannot divide a batch of 4 among them; set it to 4 or less, or"),
    ],
)
def test_values_with_which_every_run_would_fail_are_refused(override, message, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("question: Is it possible?\n")
    with pytest.raises(UserError, match=message):
        load_study(path, [override])


def test_shards_need_as_many_sequences_on_each_device_at_every_length(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("question: Is it possible?\nbase: {speed: {devices: 3}}\n")
    load_study(path, [])
    load_study(path, ["speed.shard=true", "train.batch_size=6"])
    message = r"speed\.shard: needs the same number .* 3 \(speed\.devices\) does not divide a batch of 4; change"
    with pytest.raises(UserError, match=message):
        load_study(path, ["speed.shard=true"])
    with pytest.raises(UserError, match="does not divide a batch of 8"):
        load_study(path, ["speed.shard=true", "train.batch_size=6", "train.schedule=192 then 256"])


def test_a_path_with_a_zero_byte_is_refused():
    with pytest.raises(UserError, match=r"data\.path: .* holds a zero byte"):
        corpus_digest(DataConfig(path="a\0b"))
