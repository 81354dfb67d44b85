"""Check that the memory of an evaluation is constant: find a needle in 20,000 and in 2,000,000 tokens.

    python benchmarks/long_context.py [--long 2000000]

As `titans-lab eval` does it, one process for each variant and length makes a question of S-NIAH-1, streams it through
a tiny untrained model and has it answer, and tells the most memory that it ever held. Exits with 1 where the long
question needs over 5 % more than the short one.
"""

from __future__ import annotations

import argparse
import sys
from time import perf_counter

from streaming import ALLOWED, VARIANTS, measured_apart, peak

SHORT, ANSWER = 20_000, 128


def answer(variant: str, tokens: int) -> None:
    """Print memory before, peak memory (both in bytes) and tokens/s, in a separate process."""
    import torch

    from titans.models.config import MemoryConfig, ModelConfig
    from titans.models.language_model import LanguageModel
    from titans_lab.data.hidden import needle_contents
    from titans_lab.evaluation.evaluate import replies
    from titans_lab.tasks.needle.task import needles

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config = ModelConfig(variant=variant, dim=32, n_layers=1, n_heads=1, memory=MemoryConfig(depth=1, chunk_size=64))
    model, device = LanguageModel(config).eval(), torch.device("cpu")
    source = needles("passkey", "ruler", needle_contents("passkey", None, None), 0, "test")
    replies(model, [source.question(0, 2000, ANSWER)], 1, device)  # libraries load what they need
    before, begin = peak(), perf_counter()
    replies(model, [source.question(1, tokens, ANSWER)], ANSWER, device)
    print(before, peak(), tokens / (perf_counter() - begin))


def report(variants: list[str], long: int) -> bool:
    """Print a row for each variant and length, and return whether all stayed within the limit."""
    print(f"{'variant':8} {'tokens':>9} {'before, MB':>11} {'peak, MB':>9} {'ratio':>6} {'tokens/s':>9}")
    fine = True
    for variant in variants:
        first = None
        for tokens in (SHORT, long):
            before, most, rate = measured_apart(__file__, "--answer", variant, "--long", str(tokens))
            first = first or most
            fine &= most <= ALLOWED * first
            held = f"{before / 1e6:11.1f} {most / 1e6:9.1f} {most / first:7.3f}"
            print(f"{variant:8} {tokens:9,} {held} {rate:9,.0f}", flush=True)
    return fine


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", type=int, default=2_000_000, help="tokens of the long question")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--answer", choices=VARIANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer:
        answer(given.answer, given.long)
    else:
        sys.exit(0 if report(given.variants, given.long) else 1)
