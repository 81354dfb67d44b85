"""Train on several ranks, each a process, and compare them with one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from titans.mixers.registry import variants
from titans_lab.run.config import RunConfig
from titans_lab.tasks.task import Task, build_task
from titans_lab.training.ranks import Ranks, join, leave, met
from titans_lab.training.replica import Replica

T = TypeVar("T")
CPU = torch.device("cpu")
SEED = 5
STEPS = 4
#: Variants whose loss curves are compared; of all others the gradients are.
CURVES = ("lmm", "mac", "mag", "mal", "transformer", "gated_deltanet")

#: Settings of the trainer whose losses and final weights are compared, and whether shards of a model have them.
TRAINERS: dict[str, tuple[dict[str, Any], bool]] = {
    "muon": ({"train__optimizer": "muon", "train__ema": 0.9}, False),
    "sgd": ({"train__optimizer": "sgd", "train__ema": 0.9}, True),
    "adamw": ({"train__ema": 0.9, "train__decay_groups": "head.*=0.5"}, True),
}

#: The largest deviations from one process, by "variant sharded": of a gradient in float64, and of a loss in float32 as
#: a share of the loss.
Deviations = dict[str, tuple[float, float]]


def deviations(size: int, folder: Path) -> Deviations:
    """Return the deviations of `size` ranks from one."""
    torch.multiprocessing.spawn(_compare, (size, str(folder), sys.path), nprocs=size)
    found = json.loads((folder / "found.json").read_text())
    return {name: tuple(pair) for name, pair in found.items()}


def _compare(rank: int, size: int, folder: str, path: list[str]) -> None:
    sys.path[:] = path
    from every_task import run_of

    own = Path(folder) / str(rank)
    own.mkdir()
    ranks = join(met(str(Path(folder) / "ranks"), size), rank, size, False, CPU)
    found = {}
    for sharded in (False, True):
        for variant in variants() if size == 2 else CURVES:
            # Shares of 4 and 3 examples, or of 3, 2 and 2, in micro-batches of 2; shards need equal ones.
            batch = 6 if sharded else 7
            values = {"train__batch_size": batch, "train__tokens": STEPS * batch * 32, "speed__micro_batch": 2}
            layers = 4 if variant in ("samba", "gated_deltanet_h2") else 2
            config = run_of("text", own, model__variant=variant, model__n_layers=layers, **values)
            mine = replace(ranks, sharded=sharded)
            found[f"{variant} {sharded}"] = (
                _of_gradients(config, mine),
                _of_losses(config, mine) if variant in CURVES else 0.0,
            )
        for name, (settings, shards) in TRAINERS.items():
            if size == 2 and (shards or not sharded):
                values = {"train__batch_size": 6, "train__tokens": STEPS * 6 * 32, "speed__micro_batch": 2}
                config = run_of("text", own, model__n_layers=2, **values, **settings)
                found[f"{name} {sharded}"] = _of_averages(config, replace(ranks, sharded=sharded))
    if rank == 0:
        (Path(folder) / "found.json").write_text(json.dumps(found))
    leave()


def _of_gradients(config: RunConfig, ranks: Ranks) -> float:
    task = build_task(config, SEED)
    task.model = lambda *given: type(task).model(task, *given).double()  # type: ignore[method-assign]
    together = ranks.whole(_gradients(config, task, ranks))
    if ranks.rank:
        return 0.0
    alone = _gradients(config, task, Ranks())
    return max(float((together[name] - gradient).abs().max()) for name, gradient in alone.items())


def _gradients(config: RunConfig, task: Task, ranks: Ranks) -> dict[str, Tensor]:
    replica = Replica(config, SEED, task, CPU, ranks)
    replica.join()
    loss = replica.gradients(task.sample(0))
    named = replica.model.named_parameters()
    return {name: p.grad for name, p in named if p.grad is not None and p.numel()} | {"loss": loss}


def _of_losses(config: RunConfig, ranks: Ranks) -> float:
    task = build_task(config, SEED)
    together = _losses(config, task, ranks)
    if ranks.rank:
        return 0.0
    alone = _losses(config, task, Ranks())
    return max(abs(one / other - 1) for one, other in zip(together, alone, strict=True))


def _of_averages(config: RunConfig, ranks: Ranks) -> tuple[float, float]:
    """Return the largest deviation of an averaged weight, with a checkpoint taken on the way, and of a loss."""
    task = build_task(config, SEED)
    together, losses = _averages(config, task, ranks)
    if ranks.rank:
        return 0.0, 0.0
    alone, expected = _averages(config, task, Ranks())
    deviation = max(float((together[name] - tensor).abs().max()) for name, tensor in alone.items() if tensor.numel())
    return deviation, max(abs(one / other - 1) for one, other in zip(losses, expected, strict=True))


def _averages(config: RunConfig, task: Task, ranks: Ranks) -> tuple[dict[str, Tensor], list[float]]:
    replica, losses = Replica(config, SEED, task, CPU, ranks), list[float]()
    for half in range(2):
        replica.join()
        losses += [_step(replica, ranks) for _ in range(STEPS // 2)]
        if half == 0:
            state = _told(replica.state, ranks)
            [state] = _shared([state], ranks)
            replica = Replica(config, SEED, task, CPU, ranks)
            replica.load_state(state)
    whole = _told(replica.whole_model, ranks, replica.ranks.sharded)
    return {name: p.detach() for name, p in whole.named_parameters()} if ranks.rank == 0 else {}, losses


def _told(act: Callable[[], T], ranks: Ranks, told: bool = True) -> T:
    if ranks.rank and told:  # as `Replica.follow` does
        ranks.told()
    return act()


def _shared(values: list[Any], ranks: Ranks) -> list[Any]:
    if ranks.size > 1:
        torch.distributed.broadcast_object_list(values, 0)
    return values


def _losses(config: RunConfig, task: Task, ranks: Ranks) -> list[float]:
    replica = Replica(config, SEED, task, CPU, ranks)
    replica.join()
    return [_step(replica, ranks) for _ in range(STEPS)]


def _step(replica: Replica, ranks: Ranks) -> float:
    if ranks.rank:  # as `Replica.follow` does
        ranks.told()
    return replica.take_step()[0].item()
