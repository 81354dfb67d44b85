"""The numbers that a configuration gives are pinned: who changes them raises a version, and no two runs share an id.

A failure here means: raise `titans.VERSIONS`, `titans_lab.run.identity.VERSIONS` or the task's `VERSION`, then write
the new losses down.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from variants import SPECS, of_variant

from titans.models.config import MemoryConfig
from titans_lab.data.corpus import Corpus
from titans_lab.run.config import LogConfig, RunConfig, TrainConfig
from titans_lab.run.identity import versions
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.tasks.text.task import TextTask
from titans_lab.training.train import Trainer

GOLDEN_VERSIONS = {"model": 2, "operator": 1, "task": 2, "trainer": 2}
#: Test loss after six steps, bits per byte.
GOLDEN = {name: spec.golden_loss for name, spec in SPECS.items()}


def corpus() -> Corpus:
    """4 KB that are the same everywhere, with something to learn in them."""
    words = [hashlib.sha256(bytes([i])).hexdigest()[: 3 + i % 5].encode() for i in range(24)]
    text = b" ".join(words[i * i % 24] for i in range(800))
    tokens = np.frombuffer(text, dtype=np.uint8)
    return Corpus("golden", hashlib.sha256(text).hexdigest(), tokens[:-512], tokens[-512:-256], tokens[-512:])


def loss_after_six_steps(variant: str, store: Store) -> float:
    model = of_variant(
        variant, dim=16, n_layers=2, n_heads=2, persistent_tokens=3, segment_len=16, window=12,
        memory=MemoryConfig(depth=2, expansion=2, chunk_size=8),
    )  # fmt: skip
    config = RunConfig(
        model=model, train=TrainConfig(tokens=6 * 4 * 64, seq_len=64, batch_size=4), log=LogConfig(every=2)
    )
    recorder = Recorder(store.run(variant).new_attempt(), {})
    return Trainer(config, 1, TextTask(corpus(), 1, 64, 4), torch.device("cpu"), recorder).run()["loss"]


@pytest.mark.parametrize("variant", GOLDEN)
def test_a_configuration_gives_the_numbers_that_it_gave(variant, tmp_path):
    assert versions(RunConfig()) == GOLDEN_VERSIONS
    assert loss_after_six_steps(variant, Store(tmp_path)) == pytest.approx(GOLDEN[variant], abs=2e-4)
