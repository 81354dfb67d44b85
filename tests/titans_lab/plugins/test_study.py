"""A study with plugins: nothing runs unasked, and then a mixer and a task of a user's own are like any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from titans_lab.plugins.example import write_example

STUDY = """
plugins: [my_mixer, parity.py]
base:
  model: {dim: 16, n_layers: 1, n_heads: 2, vocab_size: 8}
  task: {name: parity, parity: {bits: 3}}
  train: {tokens: 256, seq_len: 8, batch_size: 4}
  log: {checkpoint_seconds: null}
grid:
  model.variant: [my_mixer, lstm]
"""
PARITY = '''
"""Whether the bits so far are even or odd: a task in one file, whose half with torch is imported by workers only."""

from dataclasses import dataclass
from typing import ClassVar

from titans_lab.run.metric import Metric
from titans_lab.tasks.settings import TaskSettings


@dataclass(frozen=True)
class Parity(TaskSettings):
    """The parity of the bits so far.

    Attributes:
        bits: Ones that a sequence may have.
    """

    NAME: ClassVar[str] = "parity"
    TASK: ClassVar[str] = "parity_task:ParityTask"
    LOSS: ClassVar[Metric] = Metric("loss", "nats per bit", column="loss")
    METRIC: ClassVar[Metric] = Metric("accuracy", "share of bits", "maximize", column="score")

    bits: int = 2

    def check(self, model, data, train):
        if self.bits > train.seq_len:
            raise ValueError(f"task.parity.bits: {self.bits} are more than train.seq_len ({train.seq_len})")


def __getattr__(name):
    if name != "ParityTask":
        raise AttributeError(name)
    import torch
    import torch.nn.functional as F

    from titans_lab.tasks.task import Score, Task, judging, random_of

    class ParityTask(Task):
        def __init__(self, config, seed):
            settings = config.task.settings
            super().__init__(settings, settings.digest(config.data), settings.source(config.data))
            self.shape, self.seed = (config.train.batch_size, config.train.seq_len), seed

        @classmethod
        def build(cls, config, seed):
            return cls(config, seed)

        def drawn(self, *facts):
            bits = torch.from_numpy(random_of("parity", *facts).integers(0, 2, self.shape))
            return bits, bits.cumsum(1) % 2

        def sample(self, step):
            return self.drawn(self.seed, "train", step)

        def losses(self, model, batch):
            bits, parity = batch
            return F.cross_entropy(model(bits).float().mT, parity, reduction="none").sum(1)

        def terms(self, batch):
            return batch[0].numel()

        @torch.no_grad()
        def evaluate(self, model, device, limit=None):
            scores = []
            for split in ("valid",) if limit else ("valid", "test"):
                batch = tuple(each.to(device) for each in self.drawn(split))
                with judging(model):
                    loss = self.losses(model, batch).sum().item() / self.terms(batch)
                    right = (model(batch[0]).argmax(-1) == batch[1]).float().mean().item()
                for metric, value in ((self.settings.LOSS, loss), (self.settings.METRIC, right)):
                    scores.append(Score(metric, value, self.terms(batch), split=split))
            return scores

        def inputs(self, tokens):
            return self.drawn("valid")[0]

    return ParityTask
'''.replace('"parity_task:ParityTask"', 'f"{__name__}:ParityTask"')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study beside its plugins."""
    write_example(str(tmp_path / "my_mixer"))
    (tmp_path / "parity.py").write_text(PARITY)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def lab(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run the program in a folder; return its standard output, or its standard error where it is meant to fail."""
    environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "config"), "TITANS_LAB_PLUGINS": ""}
    command = [sys.executable, "-P", "-m", "titans_lab", *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == status, ended.stderr
    return ended.stderr if status else ended.stdout


def planned(folder: Path) -> dict[str, str]:
    """The run ids by variant."""
    rows = json.loads(lab(folder, "plan", "study.yaml", "--allow-plugins", "--json"))["runs"]
    return {row["label"].split()[0]: row["run_id"] for row in rows}


@pytest.mark.parametrize("verb", ["plan", "sweep", "tune", "verify", "bench", "status", "report", "rerun"])
def test_a_study_from_elsewhere_runs_no_code_unasked(folder: Path, verb: str) -> None:
    (folder / "parity.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    told = lab(folder, verb, "study.yaml", status=2)
    assert "study.yaml:2: plugins: " in told
    assert "which you have not allowed" in told
    assert not (folder / "ran").exists()
    assert not (folder / "results").exists()


def test_a_mixer_and_a_task_of_ones_own_are_planned_trained_and_reported(folder: Path) -> None:
    lab(folder, "sweep", "study.yaml", "--allow-plugins", "model.my_mixer.chunk_size=4")
    sql = "select model.variant, state, task.name as task, metric, plugins from runs order by 1 desc"
    rows = json.loads(lab(folder, "query", sql, "--format", "json"))
    assert [(row["variant"], row["state"], row["task"], row["metric"]) for row in rows] == [
        ("my_mixer", "done", "parity", "accuracy"),
        ("lstm", "done", "parity", "accuracy"),
    ]
    assert [sorted(json.loads(row["plugins"])) for row in rows] == [["my_mixer", "parity"], ["parity"]]
    lab(folder, "report", "study.yaml", "--allow-plugins")
    page = next((folder / "results").rglob("*.html")).read_text()
    assert "my_mixer" in page


def test_the_id_of_a_run_follows_the_plugins_that_it_uses(folder: Path) -> None:
    first = planned(folder)
    (folder / "my_mixer/layer.py").write_text((folder / "my_mixer/layer.py").read_text() + "\n")
    second = planned(folder)
    assert second["variant=my_mixer"] != first["variant=my_mixer"]
    assert second["variant=lstm"] == first["variant=lstm"]


def test_the_runs_of_an_edited_plugin_are_other_runs_and_no_runs_of_edited_code(folder: Path) -> None:
    lab(folder, "sweep", "study.yaml", "--allow-plugins", "--no-verify")
    layer = folder / "my_mixer/layer.py"
    layer.write_text(layer.read_text() + "ADDED = 1\n")
    found = json.loads(lab(folder, "plan", "study.yaml", "--allow-plugins", "--strict", "--json"))
    states = {row["label"].split()[0]: row["state"] for row in found["runs"]}
    assert (states, found["edited"]) == ({"variant=my_mixer": "pending", "variant=lstm": "done"}, "")


def test_settings_of_ones_own_are_checked_like_any_other(folder: Path) -> None:
    told = lab(folder, "plan", "study.yaml", "--allow-plugins", "model.my_mixer.horizn=3", status=2)
    assert "model.my_mixer.horizn: unknown key; did you mean model.my_mixer.horizon?" in told
    told = lab(folder, "plan", "study.yaml", "--allow-plugins", "task.parity.bits=9", status=2)
    assert "task.parity.bits: 9 are more than train.seq_len (8)" in told


def test_a_record_in_a_store_loads_nothing(folder: Path) -> None:
    lab(folder, "sweep", "study.yaml", "--allow-plugins")
    run = planned(folder)["variant=my_mixer"]
    (folder / "my_mixer/__init__.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    for verb in (["status"], ["query", "select count(*) from runs"], ["doctor"], ["logs", run]):
        lab(folder, *verb)
    told = lab(folder, "eval", run, "--task", "needle", "--lengths", "64", status=2)
    assert "my_mixer" in told
    assert not (folder / "ran").exists()


def test_a_worker_refuses_a_plugin_that_has_changed_since_the_plan(folder: Path) -> None:
    lab(folder, "plan", "study.yaml", "--allow-plugins")
    allowed = planned(folder)
    assert allowed  # consent for this call alone: the next one asks again
    assert "which you have not allowed" in lab(folder, "plan", "study.yaml", status=2)
