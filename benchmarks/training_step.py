"""Time training steps relative to torch's own operations and to a transformer, and show where their time goes.

    python benchmarks/training_step.py kernels       the default lmm, mac, mag, mal and transformer: how many times as
                                                     fast as with speed.kernel=torch
    python benchmarks/training_step.py transformer   a larger lmm's step over that of a transformer of equal parameters,
                                                     at 2,048 and 8,192 tokens
    python benchmarks/training_step.py together      eight steps of a small model over one with eight times the batch: a
                                                     bound on what training eight models as one could gain
    python benchmarks/training_step.py profile       the share of a default step that each kind of work takes

Forward, backward, clipping and the optimiser, float32. The default models take 4 x 256 tokens. The larger ones take one
sequence, with dim 512, 8 heads, 2 blocks and a memory of depth 2, expansion 4, chunk 64; the transformer's feed-forward
is widened until it has the lmm's parameters. What is compared takes turns in one process; printed are the median ratio
of neighbours, its range, and medians of milliseconds. `kernels` and `profile` are about one thread by default, as a
worker of a sweep has. With `--processor` times are the processor's, for a machine that others use too.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

import torch
from allocation import as_a_worker
from torch import nn
from torch.profiler import ProfilerActivity, profile

from titans.models.config import MemoryConfig, ModelConfig
from titans.models.cost import parameters
from titans.models.language_model import LanguageModel, use_kernel
from titans_lab.bench.step import Run, step_of
from titans_lab.run.config import TrainConfig
from titans_lab.training.optimiser import optimizer_for

VARIANTS = ("lmm", "mac", "mag", "mal", "transformer")
LMM = ModelConfig(
    variant="lmm", dim=512, n_heads=8, n_layers=2, memory=MemoryConfig(depth=2, expansion=4, chunk_size=64)
)
SMALL = 64  # width of a model like those of studies/mqar.yaml, with 64 tokens a sequence
#: Kinds of work by the beginnings of the names that torch's profiler has for them; the first that fits.
KINDS = {
    "memory operator": ("MemoryScan",),
    "products": ("mkldnn::_linear", "_Linear", "aten::mm", "aten::addmm", "aten::bmm"),
    "norms, gates and convolutions in C": ("_Pointwise",),
    "attention": ("aten::_scaled", "aten::_softmax", "aten::_flash"),
    "loss": ("aten::_log_softmax", "aten::nll_loss"),
    "clipping and optimiser": ("Optimizer", "aten::_fused_adamw", "aten::linalg_vector_norm", "aten::_foreach"),
    "copies": ("aten::copy_", "aten::cat", "aten::clone"),
    "other operations of torch": ("",),
}


def matched(config: ModelConfig) -> ModelConfig:
    """Return the transformer that comes nearest to a model's parameters."""
    plain = dataclasses.replace(config, variant="transformer")
    wanted = (parameters(config) - parameters(plain)) / (3 * config.n_layers * config.dim**2)
    return dataclasses.replace(plain, mlp_ratio=plain.mlp_ratio + wanted)


def step(config: ModelConfig, batch: int, length: int, kernel: str) -> Run:
    """Return a whole training step of a fresh model on random tokens."""
    torch.manual_seed(0)
    model = LanguageModel(config)
    use_kernel(model, kernel)
    optimizer, tokens = optimizer_for(model, TrainConfig()), torch.randint(config.vocab_size, (batch, length + 1))

    def update() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step_of(model, tokens, "float32", update)


def compare(runs: list[Run], given: argparse.Namespace) -> tuple[list[list[float]], list[float]]:
    """Return the milliseconds of two runs, turn by turn, and those of the second over those of the first."""
    clock: Callable[[], float] = process_time if given.processor else perf_counter

    def milliseconds(run: Run) -> float:
        begin = clock()
        run()
        return 1e3 * (clock() - begin)

    for run in (*runs, *runs):
        run()
    turns = [[milliseconds(run) for run in runs] for _ in range(given.rounds)]
    return [list(of_run) for of_run in zip(*turns, strict=True)], [second / first for first, second in turns]


def spread(values: list[float]) -> str:
    """Return median and range as text."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def kernels(given: argparse.Namespace) -> None:
    """Print for each default model how many times as fast its step is as in torch's own operations."""
    print(f"variant       ms with {given.kernel}, with torch   times as fast")
    for variant in given.variants:
        config = ModelConfig(variant=variant)
        (ours, torch_s), ratios = compare([step(config, 4, 256, kernel) for kernel in (given.kernel, "torch")], given)
        print(f"{variant:12}  {median(ours):8.1f}  {median(torch_s):8.1f}   {spread(ratios)}", flush=True)


def transformer(given: argparse.Namespace) -> None:
    """Print the step of an lmm over that of a transformer with as many parameters."""
    configs = matched(LMM), LMM
    print("parameters: " + ", ".join(f"{config.variant} {parameters(config):,}" for config in configs))
    print("length   ms of transformer, of lmm   lmm / transformer")
    for length in given.lengths:
        (plain, lmm), ratios = compare([step(config, 1, length, given.kernel) for config in configs], given)
        print(f"{length:6}   {median(plain):8.0f}  {median(lmm):8.0f}   {spread(ratios)}", flush=True)


def together(given: argparse.Namespace) -> None:
    """Print for small models how much faster eight of them could be as one, at most, for several sizes of a batch.

    A model of stacked weights computes what one model computes on eight times the batch, on more weights, and its
    optimizer has eight times the numbers to update. So one model with eight times the batch is faster than it.
    """
    print("variant       batch   ms of a step, of eight in one   at most times as fast")
    for variant in given.variants:
        config = ModelConfig(variant=variant, dim=SMALL, n_layers=2, n_heads=2)
        for batch in (4, 16, 32):
            runs = [step(config, size, 64, given.kernel) for size in (8 * batch, batch)]
            (whole, one), ratios = compare(runs, given)
            gains = spread([8 * ratio for ratio in ratios])
            print(f"{variant:12}  {batch:5}  {median(one):13.1f}  {median(whole):14.1f}   {gains}", flush=True)


def profiled(given: argparse.Namespace) -> None:
    """Print the share of each kind of work in a step of each default model, and the largest of the rest."""
    for variant in given.variants:
        run = step(ModelConfig(variant=variant), 4, 256, given.kernel)
        run()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for _ in range(given.rounds):
                run()
        events = {event.key: event.self_cpu_time_total / 1e3 / given.rounds for event in seen.key_averages()}
        total, kinds = sum(events.values()), defaultdict[str, float](float)
        for name, taken in events.items():
            kinds[next(kind for kind, names in KINDS.items() if name.startswith(names))] += taken
        print(f"{variant}: {total:.1f} ms a step, profiled")
        for kind, taken in sorted(kinds.items(), key=lambda each: -each[1]):
            print(f"  {100 * taken / total:5.1f} %  {kind}", flush=True)


def main() -> None:
    """Run the measurements that the command line names."""
    kinds = {"kernels": kernels, "transformer": transformer, "together": together, "profile": profiled}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=kinds)
    parser.add_argument("--kernel", default="cpu", choices=("torch", "compiled", "cpu"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--processor", action="store_true", help="processor time")
    given = parser.parse_args()
    as_a_worker()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    kinds[given.what](given)


if __name__ == "__main__":
    main()
