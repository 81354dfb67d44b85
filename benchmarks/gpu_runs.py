"""The parts of gpu.py that train models or compare other kernels than Triton's of the memory.

    determinism   outputs, end state and gradients of each kernel of the memory, twice: the same bits or not
    fla           each operator that has a kernel of flash-linear-attention: errors by norm against its recurrence in
                  float64, beside those of the form in torch
    bench         training steps by chunk, depth and length over those of a transformer: `titans-lab bench` into the
                  store, of which `titans-lab report` draws tokens/s and the share of a plain product
    sweep         a sweep with two runs at a time on the device: whether they ran together, and how they ended
    together      runs a second with 1, 2 and 4 runs at a time on the device
    prediction    the peak memory that `plan` predicts for a longer sequence, over what the run then takes
    memory        a run for which memory is short: its micro-batch after halving, and its loss over that of one with
                  ample memory

On a CPU all of it is tiny, and the kernels are those that a CPU has.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from delta_rule_case import RULES
from delta_rule_case import arguments as rule_arguments
from every_task import run_of
from memory_case import memory_arguments
from short_of_memory import train_apart
from torch.utils._pytree import tree_leaves, tree_map

from titans.ops import neural_memory
from titans_lab.store.folder import RunFolder
from titans_lab.store.query import query

Row = dict[str, Any]
#: A study of small models, whose runs take seconds.
SMALL = {
    "base": {
        "model": {"variant": "lmm", "memory": {"depth": 2, "expansion": 2}},
        "data": {"valid_bytes": 4096},
        "train": {"tokens": 8192, "seq_len": 256, "batch_size": 4},
        "log": {"every": 4, "valid_bytes": 2048},
    }
}
#: Megabytes that a run of `memory` may take, and its sequences and their length.
SHORT = {"cpu": (160, 256, 256), "cuda": (512, 256, 1024)}


def determinism(device: str) -> Iterator[Row]:
    """Yield for each kernel of the memory whether two calls give the same bits."""
    given = _moved(memory_arguments(150, 2, dim=16), device)
    for name in ("torch", "cpu") if device == "cpu" else ("torch", "compiled", "triton"):
        form = partial(neural_memory, chunk_size=16, residual=True, kernel=name)
        first, second = _results(form, given), _results(form, given)
        other = [place for place, x in enumerate(first) if not torch.equal(x, second[place])]
        yield {"kernel": name, "same_bits": not other, "other_tensors": other}


def fla(device: str) -> Iterator[Row]:
    """Yield for each operator the largest relative error by norm of its kernel and of its form in torch."""
    for name, (operator, naive) in RULES.items():
        exact = rule_arguments(name, 100)
        finite = -0.6 * torch.rand_like(exact["log_decay"])  # fla has no log-decay of -inf
        exact["log_decay"] = finite.requires_grad_()
        single, truth = _moved(exact, device), _results(naive, exact)
        for kernel in ("torch",) if device == "cpu" else ("torch", "fla"):
            found = _results(partial(operator, kernel=kernel), single)
            errors = [_error(*pair) for pair in zip(found, truth, strict=True)]
            yield {"operator": name, "kernel": kernel, "largest_error": max(errors), "output_error": errors[0]}


def _moved(arguments: Row, device: str) -> Row:
    """Return fresh leaves of the same values in float32 on a device."""
    return tree_map(lambda x: x.detach().to(device, torch.float32).requires_grad_(), arguments)  # type: ignore[no-any-return]


def _results(form: Callable[..., Any], arguments: Row) -> list[torch.Tensor]:
    """Return the outputs, the end state, and the gradients of the sum of their squares."""
    found = tree_leaves(form(**arguments))
    total = sum(x.square().sum() for x in found)
    return [*found, *torch.autograd.grad(total, tree_leaves(arguments))]


def _error(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the norm of the difference over that of the truth."""
    return float((found.detach().double().cpu() - truth.detach()).norm() / truth.detach().norm().clamp(min=1e-12))


def bench(device: str, store: Path) -> Iterator[Row]:
    """Yield the pairs that `titans-lab bench` measures into a store that is kept."""
    grid: dict[str, list[Any]] = {"model.memory.chunk_size": [16, 64], "model.memory.depth": [1, 2, 4]}
    lengths, model, batch = "2048,16384", {"dim": 768, "n_heads": 12, "n_layers": 4, "vocab_size": 256}, "4"
    if device == "cpu":
        grid, lengths, batch = {"model.memory.depth": [1, 2]}, "64", "1"
        model = {"dim": 32, "n_heads": 2, "n_layers": 1, "vocab_size": 256}
    train = {"precision": "float32" if device == "cpu" else "bfloat16"}
    study = {"base": {"model": {"variant": "lmm"} | model, "train": train}, "grid": grid}
    yield from json.loads(_program("bench", study, store, "--length", lengths, "--batch", batch, "--json"))


def sweep(device: str) -> Iterator[Row]:
    """Yield how two runs went that the device had together."""
    with tempfile.TemporaryDirectory() as store:
        _program("sweep", SMALL | {"seeds": 2}, Path(store), "--no-verify", *_at_a_time(device, 2))
        runs = query(
            Path(store), "select state, device, started, finished, loss from runs order by started"
        ).to_pylist()
    first, second = runs
    together = (min(first["finished"], second["finished"]) - second["started"]).total_seconds()
    yield {"states": [run["state"] for run in runs], "devices": [run["device"] for run in runs], "together_s": together}


def together(device: str) -> Iterator[Row]:
    """Yield the runs a second by how many the device has at a time."""
    runs, counts = (2, (1, 2)) if device == "cpu" else (8, (1, 2, 4))
    for count in counts:
        with tempfile.TemporaryDirectory() as store:
            begin = perf_counter()
            _program("sweep", SMALL | {"seeds": runs}, Path(store), "--no-verify", *_at_a_time(device, count))
            taken = perf_counter() - begin
        yield {"at_a_time": count, "runs": runs, "seconds": taken, "runs_a_second": runs / taken}


def prediction(device: str) -> Iterator[Row]:
    """Yield the predicted peak memory of a run over its own, after runs of other lengths."""
    lengths = (128, 256, 512) if device == "cpu" else (1024, 2048, 4096)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        for length in lengths[:-1]:
            _program("sweep", SMALL, store, *_of(length), "--no-verify")
        (planned,) = json.loads(_program("plan", SMALL, store, *_of(lengths[-1]), "--json"))["runs"]
        _program("sweep", SMALL, store, *_of(lengths[-1]), "--no-verify")
        asked = f"select peak_memory_bytes as bytes from runs where run_id = '{planned['run_id']}'"
        (measured,) = query(store, asked).to_pylist()
    predicted, taken = planned["peak_bytes"], measured["bytes"]
    yield {"length": lengths[-1], "predicted": predicted, "measured": taken, "ratio": predicted["value"] / taken}


def memory(device: str) -> Iterator[Row]:
    """Yield how a run ended for which memory was short, and its loss over that of one with ample memory."""
    megabytes, batch, length = SHORT[device]
    sizes = {"train__seq_len": length, "train__batch_size": batch, "train__tokens": 3 * batch * length}
    with tempfile.TemporaryDirectory() as folder:
        config = run_of("text", Path(folder), **sizes, log__valid_bytes=500)
        ends = []
        for name, limit in (("short", megabytes), ("ample", 64_000)):
            attempt = RunFolder(Path(folder) / name).new_attempt()
            train_apart(limit, config, attempt, device)
            ends.append(json.loads((attempt.path / "end.json").read_text()) | json.loads(attempt.env_path.read_text()))
    short, ample = ends
    losses = [end.get("loss", math.nan) for end in ends]
    yield {
        "micro_batch": short.get("micro_batch"), "oom_retries": short.get("oom_retries", 0), "batch": batch,
        "loss_ratio": losses[0] / losses[1], "error": short.get("error"),
        "oom_retries_with_ample": ample.get("oom_retries", 0),
    }  # fmt: skip


def _at_a_time(device: str, count: int) -> list[str]:
    """Return the options that give a device so many runs at a time; a CPU has a slot for each core."""
    return (
        ["--max-parallel", str(count)]
        if device == "cpu"
        else ["--per-device", str(count), "--max-parallel", str(count)]
    )


def _of(length: int) -> list[str]:
    return [f"train.seq_len={length}"]


def _program(verb: str, study: Row, store: Path, *words: str) -> str:
    """Run the program on a study, and return what it prints. RuntimeError with its last lines where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.yaml"
        path.write_text(json.dumps(study))
        command = [sys.executable, "-m", "titans_lab", verb, str(path), *words, "--store", str(store)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{verb} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


def parts(store: Path) -> dict[str, Callable[[str], Iterator[Row]]]:
    """Return the parts by name, each of which takes the kind of device; those of `bench` stay in the store."""
    every = determinism, fla, partial(bench, store=store), sweep, together, prediction, memory
    names = "determinism", "fla", "bench", "sweep", "together", "prediction", "memory"
    return dict(zip(names, every, strict=True))
