"""titans-pytorch as a baseline of `titans-lab bench`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peers import peer
from workbench import Workbench

from titans.models.config import MemoryConfig, ModelConfig
from titans_lab.bench.step import build, step_of

titans_pytorch = peer("titans_pytorch")


@pytest.mark.parametrize("heads", [1, 2])
def test_its_memory_is_the_mixer_of_every_block(heads: int):
    memory = MemoryConfig(depth=3, expansion=2, chunk_size=8, momentum=False)
    model = build(ModelConfig(variant="lmm", dim=16, n_heads=heads, n_layers=2, memory=memory), peer=True)
    for block in model.blocks:
        theirs = block.mixer.memory
        assert isinstance(theirs, titans_pytorch.NeuralMemory)
        assert (theirs.heads, theirs.store_chunk_size, theirs.to_momentum) == (heads, 8, None)
        assert [tuple(w.shape[-2:]) for w in theirs.memory_model.model.weights] == [
            (16 // heads, 32 // heads),
            (32 // heads, 32 // heads),
            (32 // heads, 16 // heads),
        ]
    step_of(model, torch.randint(256, (2, 34)), "float32")()


def test_it_is_measured(tmp_path: Path):
    bench = Workbench.at(tmp_path)
    done = bench.call("bench", "--against", "titans-pytorch", "--rounds", "2", "--json")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    [row] = json.loads(done.stdout)
    assert row["against"] == "titans-pytorch"
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert row["baseline_parameters"] != row["parameters"]
