"""Check and measure on a GPU whatever needs one, in one call of under nine minutes, and write one JSON file.

    python benchmarks/gpu.py --out gpu.json                      on a GPU
    python benchmarks/gpu.py --quick --device cpu --out cpu.json tests this script: tiny, in Triton's interpreter

The kernels have not been measured on a GPU yet. The parts:

    check      each covered case against the reference implementation in float64: the largest error of outputs, end
               state and gradients, relative to the largest value of each, and the same error of the torch form
    operator   forward and backward: milliseconds, TFLOP/s by the closed form's products alone (recomputation not
               counted), the share of a large compiled matrix product's, peak memory; Triton's and the torch form take
               turns with that product, and with titans-pytorch where it is installed
    tiles      the operator with other tiles and warps than the kernels' own, which are a guess until this has run
    training   a step of a model of 170M in bfloat16, lmm (each kernel) and transformer, at 2K and 16K tokens
    kernels    registers, spills and shared memory of each kernel that ran

Further parts are described in gpu_runs.py: determinism, fla, bench, sweep, together, prediction, memory. `bench` leaves
its measurements in a store next to the file, of which `titans-lab report` draws a page.

A part or row that fails is recorded with its error, and the rest goes on; after `--minutes` what is left is recorded as
out of time. The script changes no setting of the GPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

if {"cpu", "--device=cpu"} & set(sys.argv):
    os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported

import torch
import torch.nn.functional as F

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "tests/helpers")]
from gpu_runs import parts
from memory_case import leaves, memory_arguments

from titans.models.config import MemoryConfig, ModelConfig
from titans.models.language_model import LanguageModel
from titans.models.presets import PRESETS
from titans.ops import MemoryState, naive_neural_memory, neural_memory
from titans_lab.environment import environment

warnings.filterwarnings("error", message="kernel='triton'")  # a case that is not covered is to be seen as such

Run = Callable[[], object]
Row = dict[str, Any]
#: By torch.set_float32_matmul_precision: what the products' factors are, and the error that may come of it.
PRECISIONS = {"highest": ("float32", 1e-3), "high": ("tf32", 3e-2), "medium": ("bfloat16", 1e-1)}


class Case(NamedTuple):
    """The shape of a memory and of its input."""

    dim: int
    expansion: int
    depth: int
    chunk: int
    batch: int = 1
    heads: int = 2
    time: int = 0
    switches: tuple[tuple[str, Any], ...] = ()

    @property
    def widths(self) -> list[tuple[int, int]]:
        """Return (d_out, d_in) of each layer."""
        hidden = [self.dim * self.expansion] * (self.depth - 1)
        return list(zip([*hidden, self.dim], [self.dim, *hidden], strict=True))

    @property
    def flops(self) -> float:
        """Return the FLOPs of forward and backward, counting only the closed form's products."""
        macs = sum((5 if n == 0 else 6) * o * i + self.chunk * (o + i) for n, (o, i) in enumerate(self.widths))
        return 3 * 2.0 * macs * self.batch * self.heads * self.time


class Plan(NamedTuple):
    """The cases to run on a kind of device."""

    device: str
    checked: list[tuple[Case, str]]
    timed: list[tuple[Case, str]]
    side: int  # of the large matrix product
    rounds: int
    trained: list[tuple[str, str, int, int]]  # variant, kernel, length, batch
    model: dict[str, Any]
    workers: int
    tiles: list[tuple[int, int]]


def plan(device: str, quick: bool) -> Plan:
    """Return the plan of a device. On a CPU, sizes are small enough for the interpreter."""
    plain = {"residual": True}
    if device == "cpu":
        model = {"vocab_size": 64, "n_layers": 1, "dim": 32, "n_heads": 2}
        trained = [("lmm", "triton", 32, 1), ("lmm", "torch", 32, 1), ("transformer", "torch", 32, 1)]
        cases = [Case(16, 2, depth, 16, time=35, switches=tuple(plain.items())) for depth in (1, 2)]
        return Plan(
            device,
            [(c, "highest") for c in cases],
            [(c, "highest") for c in cases],
            64,
            2,
            trained,
            model,
            2,
            [(16, 4), (64, 8)],
        )
    forms = [
        plain, plain | {"outer_gradient": False}, plain | {"reset_momentum": True},
        {"activation": "silu", "loss": "half"}, {"activation": "relu", "loss": "mean"},
    ]  # fmt: skip
    sizes = [(32, 4, 2, 16), (48, 4, 2, 16), (64, 4, 2, 64), (96, 2, 2, 32), (128, 4, 2, 64), (128, 1, 1, 64)]
    sizes += [(64, 1, 1, 16), (48, 1, 1, 5)]
    steady = tuple((plain | {"loss": "mean"}).items())
    # float32 factors take minutes to compile for wide heads, and do not fit for the widest
    within = {"highest": 48, "high": 96, "medium": 128}
    checked = [
        (Case(*size, time=2 * size[3] + 3, switches=steady), p)
        for size in sizes
        for p in within
        if size[0] <= within[p]
    ]
    checked += [(Case(32, 2, 2, 16, time=35, switches=tuple(form.items())), "highest") for form in forms]
    speed = [(48, 4, 2, 16), (64, 4, 2, 16), (64, 4, 2, 64), (32, 4, 2, 64), (128, 4, 2, 64), (64, 1, 1, 64)]
    timed = [(Case(*size, batch=8, heads=16, time=2048, switches=tuple(plain.items())), "medium") for size in speed]
    timed += [(timed[2][0], "high"), (timed[2][0]._replace(batch=2, heads=12, time=16384), "medium")]
    trained = [
        ("lmm", "triton", 2048, 16), ("transformer", "torch", 2048, 16), ("lmm", "triton", 16384, 2),
        ("transformer", "torch", 16384, 2), ("lmm", "torch", 2048, 16),
    ]  # fmt: skip
    tiles = [(tile, warps) for tile in (16, 32, 64) for warps in (4, 8)]
    if quick:
        checked, timed, trained, tiles = checked[:3], timed[:1], trained[:2], tiles[:2]
    return Plan(device, checked, timed, 8192, 5, trained, PRESETS["170M"], 8, tiles)


# A function for each part, which yields its rows.


def check(run: Plan) -> Iterator[Row]:
    """Yield the errors of each case, several cases at a time, because most of the time is compilation."""
    with ProcessPoolExecutor(run.workers, multiprocessing.get_context("spawn")) as pool:
        waiting = [(case, p, pool.submit(errors_of, case, p, run.device)) for case, p in run.checked]
        for case, precision, future in waiting:
            yield row(case, precision) | guarded(lambda future=future: future.result(timeout=300))


def errors_of(case: Case, precision: str, device: str) -> Row:
    """Return the largest errors of either kernel, and the place of Triton's."""
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(0)
    sizes = {"batch": case.batch, "heads": case.heads, "dim": case.dim, "expansion": case.expansion}
    made = memory_arguments(case.time, case.depth, **sizes)
    exact, single = (moved(made, device, dtype) for dtype in (torch.float64, torch.float32))
    switches = dict(case.switches) | {"chunk_size": case.chunk}
    truth = projected(naive_neural_memory, exact, **switches)
    torch.set_float32_matmul_precision(precision)
    ours, plain = (projected(neural_memory, single, kernel=name, **switches) for name in ("triton", "torch"))
    ours, plain = (relative_errors(found, truth) for found in (ours, plain))
    worst = max(ours, key=ours.__getitem__)
    found = {"triton": ours[worst], "triton_worst": worst, "torch": max(plain.values())}
    return found | {"ok": bool(ours[worst] < PRECISIONS[precision][1])}


def operator(run: Plan) -> Iterator[Row]:
    """Yield the speed and the memory of each case."""
    for case, precision in run.timed:
        yield row(case, precision) | guarded(partial(operator_row, case, precision, run))


def operator_row(case: Case, precision: str, run: Plan) -> Row:
    """Return the milliseconds of each kernel, timed in turns."""
    torch.set_float32_matmul_precision(precision)
    ours, plain = (memory_run(case, name, run.device) for name in ("triton", "torch"))
    product = large_product(run.side, run.device)
    seconds = in_turns({"triton": ours, "torch": plain, "product": product}, run.rounds, run.device)
    rates = {name: case.flops / s / 1e12 for name, s in seconds.items()} | {
        "product": 2 * run.side**3 / seconds["product"] / 1e12
    }
    found: Row = {f"{name}_ms": 1e3 * s for name, s in seconds.items()}
    found |= {f"{name}_tflops": rate for name, rate in rates.items()}
    found |= {"triton_share_of_product": rates["triton"] / rates["product"]}
    found |= {"triton_times_as_fast_as_torch": seconds["torch"] / seconds["triton"]}
    for name, each in (("triton", ours), ("torch", plain)):
        found[f"{name}_peak_bytes"] = peak_bytes(each, run.device)
    return found | {"titans_pytorch": guarded(partial(peer_row, case, run))}


def peer_row(case: Case, run: Plan) -> Row:
    """Return the row of titans-pytorch's memory, with its projections, which are small in comparison."""
    from titans_pytorch import MemoryMLP, NeuralMemory

    model = MemoryMLP(case.dim, case.depth, expansion_factor=case.expansion)
    sizes = {"chunk_size": case.chunk, "dim_head": case.dim, "heads": case.heads}
    memory = NeuralMemory(case.heads * case.dim, model=model, momentum=True, **sizes).to(run.device)
    x = torch.randn(case.batch, case.time, case.heads * case.dim, device=run.device, requires_grad=True)
    wanted = [x, *(p for p in memory.parameters() if p.requires_grad)]
    seconds = in_turns(
        {"peer": lambda: torch.autograd.grad(memory(x)[0].sum(), wanted, allow_unused=True)}, 2, run.device
    )
    return {"ms": 1e3 * seconds["peer"]}


def tiles(run: Plan) -> Iterator[Row]:
    """Yield the first cases with each tile size and number of warps, compiled in parallel and timed one by one."""
    wanted = [(case, precision, *size) for case, precision in run.timed[:3] for size in run.tiles]
    with ProcessPoolExecutor(run.workers, multiprocessing.get_context("spawn")) as pool:
        compiled = [pool.submit(tiles_row, *each, 0, run.device) for each in wanted]
        failures = [guarded(lambda future=future: future.result(timeout=300)) for future in compiled]
    for (case, precision, tile, warps), failed in zip(wanted, failures, strict=True):
        what = row(case, precision) | {"tile": tile, "warps": warps}
        yield what | (failed or guarded(partial(tiles_row, case, precision, tile, warps, run.rounds, run.device)))


def tiles_row(case: Case, precision: str, tile: int, warps: int, rounds: int, device: str) -> Row:
    """Return the milliseconds of a tile size, or without rounds only compile it."""
    from titans.ops.neural_memory import triton as kernels

    torch.set_float32_matmul_precision(precision)
    before = kernels.TILE, kernels.WARPS
    kernels.TILE, kernels.WARPS = tile, warps
    try:
        once = memory_run(case if rounds else case._replace(batch=1, heads=1, time=2 * case.chunk), "triton", device)
        once()
        return {"ms": 1e3 * in_turns({"run": once}, rounds, device)["run"]} if rounds else {}
    finally:
        kernels.TILE, kernels.WARPS = before


def training(run: Plan) -> Iterator[Row]:
    """Yield the rows of training steps, one model at a time."""
    for variant, kernel, length, batch in run.trained:
        what = {"variant": variant, "kernel": kernel, "length": length, "batch": batch}
        yield what | guarded(partial(training_row, variant, kernel, length, batch, run))


def training_row(variant: str, kernel: str, length: int, batch: int, run: Plan) -> Row:
    """Return the tokens per second of forward, backward and optimiser, with products in bfloat16."""
    torch.set_float32_matmul_precision("medium")
    model = LanguageModel(ModelConfig(variant=variant, memory=MemoryConfig(), **run.model)).to(run.device)
    for module in model.modules():
        if hasattr(module, "operator"):
            module.operator = partial(neural_memory, kernel=kernel)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=run.device == "cuda")
    tokens = torch.randint(run.model["vocab_size"], (batch, length + 1), device=run.device)

    def step() -> None:
        with torch.autocast(run.device, torch.bfloat16):
            logits = model(tokens[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    slow = variant == "lmm" and kernel == "torch"
    seconds = in_turns({"step": step}, 1 if slow else run.rounds, run.device)["step"]
    return {
        "ms": 1e3 * seconds,
        "tokens_per_second": batch * length / seconds,
        "peak_bytes": peak_bytes(step, run.device),
    }


def kernels(run: Plan) -> Iterator[Row]:
    """Yield the compiled form of each kernel that ran in this process. The interpreter compiles none."""
    from titans.ops.neural_memory.triton import backward_kernel, forward_kernel

    for kernel in (forward_kernel, backward_kernel):
        for caches in getattr(kernel, "device_caches", {}).values():
            for compiled in caches[0].values():
                figures = {name: getattr(compiled, name, None) for name in ("n_regs", "n_spills")}
                shape = next(str(value) for value in compiled.src.constants.values() if "Shape" in str(value))
                yield {"kernel": kernel.__name__, "shape": shape, "shared": compiled.metadata.shared} | figures


# The helpers of the parts.


def row(case: Case, precision: str) -> Row:
    """Return the columns that identify a row: the case and the precision."""
    return case._asdict() | {"switches": dict(case.switches), "precision": PRECISIONS[precision][0]}


def moved(arguments: Row, device: str, dtype: torch.dtype) -> Row:
    """Return fresh leaves with the same values."""
    fresh = {name: x.detach().to(device, dtype).requires_grad_() for name, x in leaves(arguments).items()}
    depth = len(arguments["state"].weights)
    state = MemoryState(*(tuple(fresh.pop(f"{part}[{i}]") for i in range(depth)) for part in ("weights", "momentum")))
    return fresh | {"state": state}


def projected(form: Callable[..., Any], arguments: Row, **switches: Any) -> dict[str, torch.Tensor]:
    """Return the outputs, the end state, and the gradients of the sum of their squares."""
    y, state = form(**arguments, **switches)
    named = {"y": y} | {f"end {i}": x for i, x in enumerate((*state.weights, *state.momentum))}
    by = leaves(arguments)
    total = sum(x.square().mean() for x in named.values())
    gradients = torch.autograd.grad(total, list(by.values()), allow_unused=True)
    return named | {f"d/d {name}": g for name, g in zip(by, gradients, strict=True) if g is not None}


def relative_errors(found: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]) -> dict[str, float]:
    """Return the error of each tensor over its largest value. A gradient that the reference lacks must be 0."""
    zero = torch.zeros((), dtype=torch.float64)
    pairs = {name: (x.detach().double().cpu(), truth.get(name, zero).detach().cpu()) for name, x in found.items()}
    return {name: float((a - b).abs().max() / b.abs().max().clamp(min=1e-6)) for name, (a, b) in pairs.items()}


def memory_run(case: Case, kernel: str, device: str) -> Run:
    """Return the operator, forward and backward, on random inputs."""
    shape = (case.batch, case.heads, case.time)
    random = partial(torch.randn, device=device)
    weights = tuple((random(*shape[:2], o, i) * i**-0.5).requires_grad_() for o, i in case.widths)
    state = MemoryState(weights, tuple(torch.zeros_like(w) for w in weights))
    q, k = (F.normalize(random(*shape, case.dim), dim=-1).requires_grad_() for _ in range(2))
    v = random(*shape, case.dim).requires_grad_()
    gates = [
        (s * torch.rand(*shape, case.depth, device=device)).requires_grad_() for s in (0.1 / case.chunk, 0.9, 1e-4)
    ]
    wanted, switches = [q, k, v, *gates, *weights], dict(case.switches) | {"chunk_size": case.chunk, "kernel": kernel}

    def run() -> object:
        y, _ = neural_memory(q, k, v, *gates, state, **switches)
        return torch.autograd.grad(y.sum(), wanted)

    return run


def large_product(side: int, device: str) -> Run:
    """Return a compiled matrix product in bfloat16, float32 on a CPU."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16 if device == "cuda" else None) for _ in "ab")
    product = torch.compile(torch.matmul, mode="max-autotune-no-cudagraphs") if device == "cuda" else torch.matmul
    return lambda: product(a, b)


def in_turns(runs: dict[str, Run], rounds: int, device: str) -> dict[str, float]:
    """Return the median seconds of each, after two calls of each to warm up."""
    for _ in range(2):
        for run in runs.values():
            run()
    taken = [{name: seconds(run, device) for name, run in runs.items()} for _ in range(rounds)]
    return {name: median(turn[name] for turn in taken) for name in runs}


def seconds(run: Run, device: str) -> float:
    """Return the seconds of one call, by the device's clock."""
    if device != "cuda":
        begin = perf_counter()
        run()
        return perf_counter() - begin
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    run()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1e3


def peak_bytes(run: Run, device: str) -> int | None:
    """Return the peak memory of a call above the memory in use before it."""
    if device != "cuda":
        return None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def guarded(run: Callable[[], Row]) -> Row:
    """Return the row that a function returns, or its error as a row."""
    try:
        return run()
    except Exception as error:  # any error is recorded, and the other rows go on
        where = traceback.extract_tb(error.__traceback__)[-1]
        return {"error": f"{type(error).__name__}: {error}"[-600:], "at": f"{Path(where.filename).name}:{where.lineno}"}


def machine(device: str) -> Row:
    """Return the machine and the versions."""
    found = environment() | {"device": device, "torch": torch.__version__, "cuda": torch.version.cuda}
    if device == "cuda":
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        smi = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        found |= {"gpu": torch.cuda.get_device_name(), "nvidia_smi": smi}
    return found


def collect(name: str, part: Callable[[Plan], Iterator[Row]], run: Plan, end: float) -> list[Row]:
    """Return a part's rows, as far as there is time."""
    if perf_counter() > end:
        return [{"error": "out of time"}]
    rows: list[Row] = []

    def go_on() -> Row:
        for found in part(run):
            print(name, json.dumps(found, default=str), flush=True)
            rows.append(found)
            if perf_counter() > end:
                raise TimeoutError("out of time")
        return {}

    failed = guarded(go_on)
    return [*rows, failed] if failed else rows


def main() -> None:
    """Run the parts and write the file after each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="few cases, to see that it works")
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--only", nargs="*", help="parts to run; default: all")
    asked = parser.parse_args()
    of_runs = {name: lambda run, part=part: part(run.device) for name, part in parts(asked.out.with_suffix("")).items()}
    begin, run = perf_counter(), plan(asked.device, asked.quick)
    found: Row = {"environment": machine(asked.device), "quick": asked.quick, "parts": {}}
    for name, part in (PARTS | of_runs).items():
        if asked.only is None or name in asked.only:
            found["parts"][name] = collect(name, part, run, begin + 60 * asked.minutes)
            found["seconds"] = perf_counter() - begin
            asked.out.write_text(json.dumps(found, indent=1, default=str) + "\n")


PARTS: dict[str, Callable[[Plan], Iterator[Row]]] = {
    "check": check, "operator": operator, "training": training, "tiles": tiles, "kernels": kernels,
}  # fmt: skip

if __name__ == "__main__":
    main()
