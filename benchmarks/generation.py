"""Measure the cost of a generated token by the memory's chunk size, and of a prompt relative to an evaluation.

    python benchmarks/generation.py [--variants lmm mac mag mal] [--tokens 512] [--rounds 5]

The whole default model, one sequence, one thread, float32. Models of chunk 16, 64 and 512 take turns in one process.
Printed are tokens/s of `generate` for each, the dearest chunk's cost a token over the cheapest's, and the seconds of
`prefill` over those of the model's own logits, for 2,048 tokens: medians over the rounds, and the range.
"""

from __future__ import annotations

import argparse
from statistics import median

import torch
from allocation import as_a_worker
from kernels import in_turn, spread

from titans.models.config import MemoryConfig, ModelConfig
from titans.models.generation import generate, prefill
from titans.models.language_model import LanguageModel

CHUNKS = (16, 64, 512)
PROMPT = 2048


def model(variant: str, chunk: int) -> LanguageModel:
    """Return the default model with another chunk size. MAC's segments are whole chunks."""
    torch.manual_seed(0)
    memory = MemoryConfig(chunk_size=chunk)
    return LanguageModel(ModelConfig(variant=variant, memory=memory, segment_len=max(CHUNKS))).eval()


def report(variant: str, tokens: int, rounds: int) -> None:
    """Print a line for a variant."""
    models = [model(variant, chunk) for chunk in CHUNKS]
    start = torch.randint(0, 256, (1, 1))
    turns = in_turn([lambda m=m: generate(m, start, tokens) for m in models], rounds)  # type: ignore[misc]
    rates = "  ".join(f"{tokens / median(seconds):7.1f}" for seconds in turns)
    dearest = [max(each) / min(each) for each in zip(*turns, strict=True)]
    prompt = torch.randint(0, 256, (1, PROMPT))

    @torch.no_grad()
    def evaluate() -> object:
        return models[0](prompt)

    read, evaluated = in_turn([lambda: prefill(models[0], prompt), evaluate], rounds)
    ratios = [a / b for a, b in zip(read, evaluated, strict=True)]
    print(f"{variant:8}  {rates}   {spread(dearest)}   {spread(ratios)}", flush=True)


def main() -> None:
    """Print a line for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["lmm", "mac", "mag", "mal"])
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    as_a_worker()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(f"tokens/s at chunks of {CHUNKS}; dearest over cheapest; prefill over evaluation")
    for variant in given.variants:
        report(variant, given.tokens, given.rounds)


if __name__ == "__main__":
    main()
