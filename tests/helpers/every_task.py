"""A run of every task, small enough to be trained in a moment, over data of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from titans_lab.run.config import RunConfig, build, leaves
from titans_lab.store.folder import Attempt
from titans_lab.store.recorder import Recorder
from titans_lab.tasks.registry import all_settings
from titans_lab.tasks.task import build_task
from titans_lab.training.train import Trainer

STORY = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel went back to the hallway.
5 Where is Daniel?\thallway\t4
"""
GENERATED = {"examples": 64, "test_examples": 16}
MODEL = {
    "model.variant": "transformer", "model.dim": 8, "model.n_layers": 1, "model.n_heads": 2,
    "model.persistent_tokens": 2,
    "model.window": 8, "model.memory.expansion": 2, "model.memory.chunk_size": 8,
}  # fmt: skip
STEPS = 7
#: A length of twice the least that a task takes, where half of its usual one is too short.
LONGER = {"babilong": 264}
#: All tasks but the one whose sequences have one length.
WITH_A_SCHEDULE = sorted(all_settings().keys() - {"series"})


def every_task() -> list[str]:
    """Return the names of all tasks."""
    return sorted(all_settings())


def run_of(name: str, folder: Path, **values: Any) -> RunConfig:
    """Seven steps of six examples; values of other dotted keys, with two underscores for each dot, on top."""
    length, settings, data = _OF_TASKS.get(name, _generated)(folder)
    given = {key.replace("__", "."): value for key, value in values.items()}
    chosen = {
        "train.seq_len": length,
        "train.batch_size": 6,
        "train.tokens": STEPS * 6 * length,
        "log.every": 3,
    } | given
    task = {f"task.{name}.{key}": value for key, value in settings.items()}
    config = build(RunConfig, MODEL | {"task.name": name} | data | task | chosen)
    unknown = given.keys() - leaves().keys()
    assert not unknown, f"no such keys: {', '.join(unknown)}"
    return config


def scheduled(name: str, folder: Path, word: str = "then", **values: Any) -> RunConfig:
    """Return the same run, trained at a shorter length first, or at both in a mixture."""
    longer = LONGER.get(name) or run_of(name, folder).train.seq_len
    lengths = {"train__seq_len": longer, "train__tokens": STEPS * 6 * longer}
    return run_of(name, folder, train__schedule=f"{longer // 2} {word} {longer}", **lengths, **values)


def trainer_of(config: RunConfig, attempt: Attempt, seed: int = 5, device: str = "cpu") -> Trainer:
    """Return a trainer on a device, its facts those of a worker that promises the same bits."""
    recorder = Recorder(attempt, {"deterministic": True})
    return Trainer(config, seed, build_task(config, seed), torch.device(device), recorder)


Needs = tuple[int, dict[str, Any], dict[str, Any]]  # length, settings of the task, data


def _generated(_: Path) -> Needs:
    return 32, GENERATED, {}


def _copying(_: Path) -> Needs:
    return 32, GENERATED | {"copied": 4}, {}


def _mqar(_: Path) -> Needs:
    return 32, GENERATED | {"pairs": 2, "vocabulary": 64}, {}


def _text(folder: Path) -> Needs:
    (folder / "text.txt").write_bytes(b"the memory learns at test time, and forgets. " * 60)
    return 32, {}, {"data.path": str(folder / "text.txt")}


def _dna(folder: Path) -> Needs:
    bases = "".join(np.random.default_rng(0).choice(list("ACGT"), 4000))
    (folder / "dna.fa").write_text(f">one\n{bases}\n")
    return 32, {}, {"data.path": str(folder / "dna.fa")}


def _genome(folder: Path) -> Needs:
    random = np.random.default_rng(0)
    rows = (f"{''.join(random.choice(list('ACGT'), random.integers(10, 40)))},{i % 2}" for i in range(120))
    (folder / "genome.csv").write_text("\n".join(("sequence,label", *rows)))
    return 32, {}, {"data.path": str(folder / "genome.csv"), "data.valid_fraction": 0.2}


def _series(folder: Path) -> Needs:
    rows = np.random.default_rng(0).normal(size=(120, 2)).tolist()
    (folder / "series.csv").write_text("\n".join(("date,a,b", *(f"2020-01-01,{a},{b}" for a, b in rows))))
    return 3, {"look_back": 6, "horizon": 4}, {"data.path": str(folder / "series.csv")}


def _needle(_: Path) -> Needs:
    return 256, {"template": "brief", "test_examples": 6}, {}


def _babilong(folder: Path) -> Needs:
    stories = (re.sub("Mary|Daniel", rf"\g<0>{number}", STORY) for number in range(200))
    (folder / "facts.txt").write_text("".join(stories))
    (folder / "book.txt").write_bytes(b"".join(b"Call me number %d. " % number for number in range(400)))
    facts = {"facts": str(folder / "facts.txt"), "test_examples": 6}
    return 144, facts, {"data.path": str(folder / "book.txt")}


_OF_TASKS: dict[str, Callable[[Path], Needs]] = {
    "text": _text, "dna": _dna, "genome": _genome, "series": _series, "mqar": _mqar, "selective_copying": _copying,
    "needle": _needle,
    "babilong": _babilong,
}  # fmt: skip
