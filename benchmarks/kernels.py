"""Measure the speed of the memory's operator relative to a matrix product and titans-pytorch, and its memory.

    python benchmarks/kernels.py operator         the CPU kernel at six shapes: GFLOP/s, share of a 512-square product,
                                                  and times torch's steps and compiled ones
    python benchmarks/kernels.py share            share of a 512-square product's FLOP/s
    python benchmarks/kernels.py peer             times titans-pytorch's speed (where that is installed: extra `peers`)
    python benchmarks/kernels.py length           tokens/s at 32,768 over those at 2,048
    python benchmarks/kernels.py first            seconds to the first result, compilation included
    python benchmarks/kernels.py memory           megabytes above the start, at depth 4
    python benchmarks/kernels.py peer-memory      the same beside titans-pytorch's

Forward and backward, float32, batch 2, 4 heads of 64, memory MLP expansion 4, momentum and forgetting on; on the CPU
kernel, or another by `--kernel`. `operator` states its own shapes; with `--threads 1` it is about one core. Compared
forms take turns in one process, which keeps freed memory as a worker does; `GLIBC_TUNABLES= python ...` has the
system's own allocator. With `--processor` times are the processor's, for a machine that others use too. Medians and
ranges of the ratios of neighbouring turns are printed. FLOPs are counted by the closed form's products alone,
recomputation not counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

import torch
import torch.nn.functional as F
from allocation import as_a_worker

from titans.ops import MemoryState, neural_memory

BATCH, HEADS, DIM, EXPANSION = 2, 4, 64, 4
KERNEL = "cpu"
CLOCK = perf_counter
Run = Callable[[], object]


class Shape(NamedTuple):
    """The sizes of a call."""

    depth: int
    chunk: int
    time: int
    dim: int = DIM
    expansion: int = EXPANSION
    batch: int = BATCH

    def widths(self) -> list[tuple[int, int]]:
        """Return (d_out, d_in) of each layer."""
        hidden = [self.dim * self.expansion] * (self.depth - 1)
        return list(zip([*hidden, self.dim], [self.dim, *hidden], strict=True))

    def flops(self) -> float:
        """Return the FLOPs of forward and backward by the closed form's products, with all pairs of a chunk."""
        layers = enumerate(self.widths())
        macs = sum((5 if n == 0 else 6) * o * i + self.chunk * (o + i) for n, (o, i) in layers)
        return 3 * 2.0 * macs * self.batch * HEADS * self.time


#: (head, expansion, chunk, depth) of `operator`; the first is the default model's, with its batch of 4 x 256 tokens.
SHAPES = [
    Shape(2, 16, 256, dim=32, expansion=2, batch=4),
    *(Shape(depth, chunk, 1024) for depth, chunk in ((2, 16), (2, 64), (1, 64), (4, 64), (4, 16))),
]


def ours(depth: int, chunk: int, time: int, **switches: object) -> Run:
    """Return a call of our operator, forward and backward, on fresh random inputs."""
    return operator_run(Shape(depth, chunk, time), KERNEL, **switches)


def operator_run(shape: Shape, kernel: str, **switches: object) -> Run:
    """Return a call of our operator on a kernel, forward and backward, on fresh random inputs."""
    batch, time, depth = shape.batch, shape.time, shape.depth
    weights = tuple((torch.randn(batch, HEADS, o, i) * i**-0.5).requires_grad_() for o, i in shape.widths())
    state = MemoryState(weights, tuple(torch.zeros_like(w) for w in weights))
    q, k = (F.normalize(torch.randn(batch, HEADS, time, shape.dim), dim=-1).requires_grad_() for _ in range(2))
    v = torch.randn(batch, HEADS, time, shape.dim, requires_grad=True)
    theta, eta, alpha = (
        (scale * torch.rand(batch, HEADS, time, depth)).requires_grad_() for scale in (0.2 / shape.chunk, 0.9, 1e-4)
    )
    leaves = [q, k, v, theta, eta, alpha, *weights]

    def run() -> object:
        y, _ = neural_memory(
            q, k, v, theta, eta, alpha, state, shape.chunk, residual=True, kernel=kernel, **switches  # type: ignore[arg-type]
        )  # fmt: skip
        return torch.autograd.grad(y.sum(), leaves)

    return run


def theirs(depth: int, chunk: int, time: int, batch_size: int | None = None) -> Run:
    """Return a call of titans-pytorch's memory, forward and backward. Its projections are small in comparison."""
    from titans_pytorch import MemoryMLP, NeuralMemory

    model = MemoryMLP(DIM, depth, expansion_factor=EXPANSION)
    memory = NeuralMemory(
        HEADS * DIM, chunk_size=chunk, batch_size=batch_size, dim_head=DIM, heads=HEADS, model=model, momentum=True
    )
    x = torch.randn(BATCH, time, HEADS * DIM, requires_grad=True)
    leaves = [x, *(p for p in memory.parameters() if p.requires_grad)]

    def run() -> object:
        y, _ = memory(x)
        return torch.autograd.grad(y.sum(), leaves, allow_unused=True)

    return run


def product() -> Run:
    """Return a call of twenty 512-square products."""
    a = torch.randn(512, 512)

    def run() -> object:
        return [a @ a for _ in range(20)]

    return run


def seconds(run: Run) -> float:
    """Return the seconds of one call."""
    begin = CLOCK()
    run()
    return CLOCK() - begin


def alternate(a: Run, b: Run, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of two calls, timed in turns after one call of each to warm up."""
    first, second = in_turn([a, b], rounds)
    return first, second


def in_turn(runs: list[Run], rounds: int) -> list[list[float]]:
    """Return the seconds of some calls, timed in turns after one call of each to warm up."""
    for run in runs:
        run()
    turns = [[seconds(run) for run in runs] for _ in range(rounds)]
    return [list(of_run) for of_run in zip(*turns, strict=True)]


def spread(values: list[float]) -> str:
    """Return the median and the range as text."""
    return f"{median(values):8.2f} ({min(values):.2f} to {max(values):.2f})"


def operator(rounds: int) -> None:
    """Print the CPU kernel's rate, its share of a 512-square product's, and how many times as fast as torch's it is."""
    print("head, expansion, chunk, depth   GFLOP/s   share of a product   times torch's steps   times compiled ones")
    for shape in SHAPES:
        runs = [operator_run(shape, kernel) for kernel in ("cpu", "torch", "compiled")]
        mine, torch_s, compiled, plain = in_turn([*runs, product()], rounds)
        rates = [shape.flops() / x / 1e9 for x in mine]
        shares = [rate / (20 * 2 * 512**3 / x / 1e9) for rate, x in zip(rates, plain, strict=True)]
        times = [[y / x for x, y in zip(mine, other, strict=True)] for other in (torch_s, compiled)]
        what = f"{shape.dim}, {shape.expansion}, {shape.chunk}, {shape.depth}"
        print(f"{what:28}  " + "  ".join(spread(x) for x in (rates, shares, *times)), flush=True)


def share(rounds: int) -> None:
    """Print the share of a 512-square product's rate."""
    print("depth  chunk  tokens/s   share of a 512-square product's FLOP/s")
    for depth in (1, 2, 4):
        for chunk in (64, 16):
            mine, plain = alternate(ours(depth, chunk, 2048), product(), rounds)
            rates = [
                Shape(depth, chunk, 2048).flops() / a / (20 * 2 * 512**3 / b) for a, b in zip(mine, plain, strict=True)
            ]
            print(f"{depth:5}  {chunk:5}  {BATCH * 2048 / median(mine):8,.0f}   {spread(rates)}", flush=True)


def peer(rounds: int) -> None:
    """Print how many times as fast as titans-pytorch."""
    print("depth  ours: chunk  theirs: chunk_size, batch_size  length   times as fast")
    cases = [(d, c, c, None, 2048) for c in (16, 64) for d in (1, 2, 4)] + [(2, 64, 1, 64, 512)]
    for depth, chunk, size, batch_size, time in cases:
        a, b = ours(depth, chunk, time), theirs(depth, size, time, batch_size)
        mine, other = alternate(a, b, rounds if size > 1 else 2)
        times = [y / x for x, y in zip(mine, other, strict=True)]
        print(f"{depth:5}  {chunk:11}  {size:18}, {batch_size!s:10}  {time:6}  {spread(times)}", flush=True)


def length(rounds: int) -> None:
    """Print the speed at 32,768 tokens over that at 2,048, with the same and each with its own policy."""
    print("depth  policy   tokens/s at 32,768 over those at 2,048")
    for depth in (2, 4):
        for name, budget in (("own", None), ("same", 0)):
            keep = {} if budget is None else {"memory_budget": budget}
            long, short = alternate(ours(depth, 64, 32768, **keep), ours(depth, 64, 2048, **keep), max(2, rounds // 3))
            print(f"{depth:5}  {name:6}  {spread([16 * b / a for a, b in zip(long, short, strict=True)])}", flush=True)


def first(rounds: int) -> None:
    """Print the seconds of two calls in fresh processes: with nothing compiled before, and then with it on disk."""
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "warm"):
            seconds_of = child("--child", "first", TORCHINDUCTOR_CACHE_DIR=cache, XDG_CACHE_HOME=cache)
            print(
                f"{name}: first call {seconds_of[0]:.1f} s, second {seconds_of[1]:.2f} s (depth 2, chunk 64)",
                flush=True,
            )


def memory(rounds: int) -> None:
    """Print how much memory a process holds above what it held before, at most, depth 4 and chunk 64."""
    print("length   MB above the start   MB of inputs, outputs and their gradients")
    for time in (2048, 8192, 32768):
        above, own = child("--child", str(time))
        print(f"{time:6}   {above / 1e6:18,.0f}   {own / 1e6:10,.0f}", flush=True)


def peer_memory(rounds: int) -> None:
    """Print how much memory a process of ours and one of titans-pytorch's hold above what they held before, at most."""
    print("depth  ours: chunk  theirs: chunk_size, batch_size  length   MB of ours, of theirs, share")
    cases = [(d, c, c, None, 2048) for c in (16, 64) for d in (1, 2, 4)] + [(2, 64, 1, 64, 512)]
    for depth, chunk, size, batch_size, time in cases:
        asked = ",".join(map(str, (depth, chunk, size, batch_size or 0, time)))
        mine, other = (child("--child", f"{who}:{asked}")[0] / 1e6 for who in ("ours", "theirs"))
        how = f"{depth:5}  {chunk:11}  {size:18}, {batch_size!s:10}  {time:6}"
        print(f"{how}  {mine:9,.0f}  {other:9,.0f}   {mine / other:.3f}", flush=True)


def child(*arguments: str, **environment: str) -> list[float]:
    """Return the numbers that a separate process prints."""
    command = [sys.executable, __file__, "share", "--kernel", KERNEL, *arguments]
    done = subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, text=True)
    return [float(x) for x in done.stdout.split()]


def be_child(what: str) -> None:
    """Print the seconds of two calls, or the bytes above the start at a length and those of what goes in and out."""
    if what == "first":
        run = ours(2, 64, 2048)
        print(seconds(run), seconds(run))
        return
    if ":" in what:
        be_pair(what)
        return
    ours(4, 64, 256)()  # libraries load what they need
    run, begin = ours(4, 64, int(what)), peak()
    run()
    print(peak() - begin, 8 * 4 * BATCH * HEADS * int(what) * (DIM + 3))


def be_pair(what: str) -> None:
    """Print the bytes above the start of a call, "ours:" or "theirs:", depth, chunk, chunk_size, batch_size, length."""
    who, _, numbers = what.partition(":")
    depth, chunk, size, batch_size, time = map(int, numbers.split(","))

    def of(length: int) -> Run:
        return ours(depth, chunk, length) if who == "ours" else theirs(depth, size, length, batch_size or None)

    of(2 * max(chunk, size))()  # libraries load what they need
    run, begin = of(time), peak()
    run()
    print(peak() - begin)


def peak() -> int:
    """Return the peak memory of this process in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def main() -> None:
    """Run the measurements that the command line names."""
    global KERNEL, CLOCK
    kinds = {"operator": operator, "share": share, "peer": peer, "length": length, "first": first, "memory": memory}
    kinds["peer-memory"] = peer_memory
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=kinds)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kernel", default=KERNEL, choices=("cpu", "torch", "compiled"))
    parser.add_argument("--processor", action="store_true", help="processor time")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    as_a_worker()
    KERNEL, CLOCK = given.kernel, process_time if given.processor else perf_counter
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    if given.child:
        be_child(given.child)
    else:
        kinds[given.what](given.rounds)


if __name__ == "__main__":
    main()
