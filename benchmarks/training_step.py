"""Time a training step of an lmm relative to that of a transformer with as many parameters.

    python benchmarks/training_step.py [--kernel cpu] [--threads 2] [--rounds 5] [--lengths 2048 8192]

Forward, backward and the optimiser, float32, batch 1; dim 512, 8 heads, 2 blocks, memory of depth 2, expansion 4, chunk
64. The transformer's feed-forward is widened until it has the lmm's parameters. Both take turns in one process; printed
are the median ratio of neighbours, its range, and where the lmm's time goes.
"""

from __future__ import annotations

import argparse
import dataclasses
from statistics import median

import torch
from allocation import as_a_worker
from torch import nn

from titans.models.config import MemoryConfig, ModelConfig
from titans.models.cost import parameters
from titans.models.language_model import LanguageModel, use_kernel
from titans_lab.bench.step import Run, alternate, step_of
from titans_lab.run.config import TrainConfig
from titans_lab.training.optimiser import optimizer_for

LMM = ModelConfig(
    variant="lmm", dim=512, n_heads=8, n_layers=2, memory=MemoryConfig(depth=2, expansion=4, chunk_size=64)
)


def matched(config: ModelConfig) -> ModelConfig:
    """Return the transformer that comes nearest to a model's parameters."""
    plain = dataclasses.replace(config, variant="transformer")
    wanted = (parameters(config) - parameters(plain)) / (3 * config.n_layers * config.dim**2)
    return dataclasses.replace(plain, mlp_ratio=plain.mlp_ratio + wanted)


def step(config: ModelConfig, length: int, kernel: str) -> tuple[Run, nn.Module]:
    """Return a whole training step of a fresh model on random tokens."""
    model = LanguageModel(config)
    use_kernel(model, kernel)
    optimizer, tokens = optimizer_for(model, TrainConfig()), torch.randint(config.vocab_size, (1, length + 1))
    return step_of(model, tokens, "float32", optimizer.step), model


def report(length: int, given: argparse.Namespace) -> None:
    """Print a line for a length."""
    runs: dict[str, Run] = {}
    for config in (LMM, matched(LMM)):
        runs[config.variant] = step(config, length, given.kernel)[0]
    turns = alternate(runs, given.rounds, torch.device("cpu"))
    seconds = {name: [turn.seconds for turn in of] for name, of in turns.items()}
    ratios = [a / b for a, b in zip(seconds["lmm"], seconds["transformer"], strict=True)]
    times = "  ".join(f"{name} {median(of):.2f} s" for name, of in seconds.items())
    print(f"{length:6}  {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})  {times}", flush=True)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", default="cpu", choices=("torch", "compiled", "cpu"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 8192])
    given = parser.parse_args()
    as_a_worker()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    counts = [parameters(config) for config in (LMM, matched(LMM))]
    print(f"parameters: lmm {counts[0]:,}, transformer {counts[1]:,}\nlength  lmm / transformer")
    for length in given.lengths:
        report(length, given)


if __name__ == "__main__":
    main()
