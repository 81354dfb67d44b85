from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from draws import generator

from titans.models.config import MemoryConfig, ModelConfig
from titans_lab.run.config import DataConfig, RunConfig, TaskConfig, TrainConfig
from titans_lab.run.derived import costs
from titans_lab.tasks.genome.task import GenomeTask
from titans_lab.tasks.task import Score, build_task, judging, overall

CPU = torch.device("cpu")
MODEL = ModelConfig(
    variant="lmm", vocab_size=5, dim=8, n_layers=1, n_heads=2, memory=MemoryConfig(expansion=2, chunk_size=4)
)


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    """Two classes with other shares of bases, in sequences of other lengths."""
    random = generator()
    lines = ["sequence,label"]
    for i in range(300):
        chances = [0.4, 0.4, 0.1, 0.1] if i % 2 else [0.1, 0.1, 0.4, 0.4]
        lines.append(f"{''.join(random.choice(list('ACGT'), random.integers(10, 40), p=chances))},{i % 2}")
    (tmp_path / "dna.csv").write_text("\n".join(lines))
    data = DataConfig(path=str(tmp_path / "dna.csv"), valid_fraction=0.2)
    train = TrainConfig(tokens=1000, seq_len=32, batch_size=8)
    return RunConfig(model=MODEL, data=data, task=TaskConfig(name="genome"), train=train)


def built(run: RunConfig, seed: int = 3) -> GenomeTask:
    task = build_task(run, seed)
    assert isinstance(task, GenomeTask)
    return task


def judged(task: GenomeTask, model: torch.nn.Module, limit: int | None = None) -> list[Score]:
    with judging(model):
        return task.evaluate(model, CPU, limit)


def test_a_batch_follows_from_seed_and_step_and_is_cut_at_the_length(run: RunConfig):
    task = built(run)
    bases, lengths, labels = task.sample(7)
    assert bases.shape == (8, int(lengths.max()))
    assert lengths.max() <= 32
    assert len(labels) == 8
    assert all(torch.equal(one, other) for one, other in zip(built(run).sample(7), task.sample(7), strict=True))
    assert not torch.equal(task.sample(8)[1], lengths)
    assert not torch.equal(built(run, seed=4).sample(7)[1], lengths)


def test_a_batch_is_examples_of_the_training_part(run: RunConfig):
    task = built(run)
    known = {(each.bases[:32].tobytes(), each.label) for each in task.parts["train"]}
    for bases, length, label in zip(*task.sample(0), strict=True):
        assert (bases[:length].numpy().astype(np.uint8).tobytes(), int(label)) in known
        assert not bases[length:].any()


class Counting(torch.nn.Module):
    """Says class 1 where A and C are more than G and T."""

    def forward(self, bases: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        within = torch.arange(bases.shape[1]) < lengths[:, None]
        more = ((bases < 2) & within).sum(1) - ((bases >= 2) & within).sum(1)
        return torch.stack((torch.zeros(len(more)), more.float()), 1)


def test_a_rule_that_knows_the_classes_is_right(run: RunConfig):
    scores = judged(built(run), Counting())
    found = overall(scores)
    assert found["accuracy"] > 0.95
    assert found["mcc"] > 0.9
    baselines = {score.metric.name: score.value for score in scores if score.baseline == "k-mers"}
    assert baselines.keys() == {"accuracy", "mcc"}
    assert baselines["accuracy"] > 0.9


def test_figures_are_of_each_part_and_on_the_way_of_the_validation_part_alone(run: RunConfig):
    task = built(run)
    model = task.model(run, 0)
    own = [score for score in judged(task, model) if score.baseline is None]
    assert {(score.split, score.count) for score in own} == {(p, len(task.parts[p])) for p in ("valid", "test")}  # type: ignore[index]
    assert {(score.split, score.count) for score in judged(task, model, limit=320)} == {("valid", 10)}


def test_it_learns(run: RunConfig):
    task = built(run)
    model = task.model(run, 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(30):
        batch = task.sample(step)
        optimizer.zero_grad()
        (task.losses(model, batch).sum() / task.terms(batch)).backward()
        optimizer.step()
    assert overall(judged(task, model))["accuracy"] > 0.85


def test_the_planned_parameters_and_digest_are_those_of_the_built_task(run: RunConfig):
    task = built(run)
    model = task.model(run, 0)
    assert costs(run)["parameters"] == sum(p.numel() for p in model.parameters())
    assert run.data_digest() == task.digest
    assert model(task.inputs(64)).shape == (2, 2)
