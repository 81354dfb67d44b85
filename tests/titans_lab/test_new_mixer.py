"""A mixer that nothing in the project knows: two files in a folder elsewhere, registered by the public function."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

SPECIFICATION = '''
"""A moving average."""

from dataclasses import dataclass

from titans.mixers import MixerSpec


@dataclass(frozen=True)
class AverageConfig:
    """What the average can be.

    Attributes:
        keep: Share of the average that a token leaves as it is.
    """

    keep: float = 0.5


def multiply_adds(config, length, batch):
    return batch * length * config.dim**2


MIXER = MixerSpec(
    name="average",
    summary="a moving average",
    source="nowhere",
    layer="average.layer:Average",
    state="average.layer:Past",
    reference="average.layer:add_up",
    settings=AverageConfig,
    parameters=lambda config: config.dim**2,
    multiply_adds=multiply_adds,
    state_size=lambda config, length: config.dim,
)
'''
LAYER = '''
from typing import NamedTuple

import torch
from torch import Tensor, nn

from average import AverageConfig
from titans.mixers.mixer import Mixer


class Past(NamedTuple):
    mean: Tensor


class Average(Mixer):
    def __init__(self, config):
        super().__init__()
        self.keep, self.out = config.settings_of(AverageConfig).keep, nn.Linear(config.dim, config.dim, bias=False)
        self.operator = average

    def start(self, batch):
        return Past(self.out.weight.new_zeros(batch, self.out.in_features))

    def forward(self, x, past):
        means = self.operator(x, past.mean, self.keep)
        return self.out(means), Past(means[:, -1])


def average(x, mean, keep):
    """By one product: row t has the weights of tokens 0 to t in the mean at t."""
    age = torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])
    weights = torch.where(age >= 0, (1 - keep) * keep ** age.clamp(min=0).to(x.dtype), 0)
    return weights @ x + (keep ** torch.arange(1, x.shape[1] + 1).to(x.dtype))[:, None] * mean[:, None]


def token_by_token(x, mean, keep):
    means = []
    for token in x.unbind(1):
        mean = keep * mean + (1 - keep) * token
        means.append(mean)
    return torch.stack(means, 1)


def add_up(layer):
    layer.operator = token_by_token
'''
STUDY = """
base:
  model: {variant: average, dim: 16}
  train: {tokens: 512, seq_len: 32, batch_size: 4}
grid: {model.average.keep: [0.5, 0.9]}
"""
USE = """
import json, sys, tempfile
from pathlib import Path

import average
from titans.mixers import register

register(average.MIXER)

from titans_lab.run import derived
from titans_lab.study.grammar import study_schema
from titans_lab.study.study import load_study
from titans_lab.verify.reduced import checks_of

first, other = (run.config for run in load_study(Path("study.yaml")).runs(lambda config: "0" * 64))
found = {
    "torch": "torch" in sys.modules,
    "keys": list(study_schema()["$defs"]["sections"]["properties"]["model"]["properties"]["average"]["properties"]),
    "parameters": derived.params(first),
    "flops": derived.flops_per_token(first),
    "state": derived.state(first),
}

import torch
from titans.models.generation import generate, load_state, prefill, save_state
from titans.models.language_model import LanguageModel
from titans_lab.store.store import Store
from titans_lab.tasks.text.task import TextTask
from titans_lab.data.corpus import Corpus
from titans_lab.store.recorder import Recorder
from titans_lab.training.train import Trainer
from titans_lab.verify.checks import CHECKS, CheckCase

model, tokens = LanguageModel(first.model), torch.randint(256, (4, 32))
found["counted"] = sum(p.numel() for p in model.parameters())
with torch.no_grad():
    whole = model(tokens)
    state = prefill(model, tokens[:, :20])
    save_state(state, Path("state.pt"))
    rest, _ = model.advance(tokens[:, 20:], load_state(Path("state.pt")))
found["counted state"] = 4 * sum(part.mean[0].numel() for part in state)
found["stream"] = float((rest - whole[:, 20:]).abs().max())
found["differs"] = float((LanguageModel(other.model)(tokens) - whole).abs().max())
found["generated"] = generate(model, tokens[:, :5], 7).shape
case = CheckCase(first.model, "float64", torch.device("cpu"), 0)
found["checks"] = {name: CHECKS[name][0](case) for name in checks_of(first.model)}

text = torch.frombuffer(bytearray(b"to be or not to be, that is the question; " * 64), dtype=torch.uint8).numpy()
corpus = Corpus("hamlet", "0" * 64, text[:-256], text[-256:-128], text[-128:])
recorder = Recorder(Store(Path("store")).run("average").new_attempt(), {})
found["loss"] = Trainer(first, 0, TextTask(corpus, 0, 32, 4), torch.device("cpu"), recorder).run()["loss"]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process finds that knows the mixer from a folder of its own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "average").mkdir()
    files = {"average/__init__.py": SPECIFICATION, "average/layer.py": LAYER, "study.yaml": STUDY, "use.py": USE}
    for name, text in files.items():
        (folder / name).write_text(text)
    here = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    done = subprocess.run([sys.executable, "use.py"], cwd=folder, env=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_is_planned_without_torch_and_costs_what_is_counted(found: dict[str, Any]):
    assert found["torch"] is False
    assert found["keys"] == ["keep"]
    assert found["parameters"] == found["counted"]
    assert found["state"] == found["counted state"]
    around = 6 * (2 * (3 * 16 * 48) + 16 * 256)  # SwiGLU of two blocks and the output projection
    assert found["flops"] == around + 6 * 2 * 16**2


def test_it_is_a_stream_whose_state_survives_a_file_and_its_setting_matters(found: dict[str, Any]):
    assert found["stream"] < 1e-5
    assert found["differs"] > 1e-3
    assert found["generated"] == [4, 7]


def test_it_is_verified_against_its_reference(found: dict[str, Any]):
    assert found["checks"].keys() == {"model", "streaming", "causality"}
    assert all(error < 1e-9 for error in found["checks"].values())


def test_it_trains(found: dict[str, Any]):
    assert 3 < found["loss"] < 8
