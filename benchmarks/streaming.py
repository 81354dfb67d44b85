"""Check that the memory of a stream is constant: compare a process after 10,000 and after 1,000,000 tokens.

    python benchmarks/streaming.py [--long 1000000]

One process for each variant and length reads a random stream in pieces and tells the most memory it ever held; what it
holds before its first token is shown beside, for torch alone takes hundreds of megabytes. Exits with 1 where the long
stream needs over 5 % more than the short one.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from time import perf_counter

VARIANTS = ("lmm", "mac", "mag", "mal")
SHORT, PIECE, ALLOWED = 10_000, 1000, 1.05


def stream(variant: str, tokens: int) -> None:
    """Print memory before, peak memory, the state's size (all in bytes) and tokens/s, in a separate process."""
    import torch

    from titans.models.config import MemoryConfig, ModelConfig
    from titans.models.generation import prefill
    from titans.models.language_model import LanguageModel

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config = ModelConfig(variant=variant, dim=64, n_layers=2, n_heads=2, memory=MemoryConfig(depth=2, expansion=2))
    model = LanguageModel(config).eval()
    state = prefill(model, torch.randint(0, 256, (1, PIECE)))  # libraries load what they need
    before, begin = peak(), perf_counter()
    for _ in range(tokens // PIECE):
        state = prefill(model, torch.randint(0, 256, (1, PIECE)), state)
    print(before, peak(), size(state), tokens / (perf_counter() - begin))


def peak() -> int:
    """Return the peak memory of this process in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def size(state: object) -> int:
    """Return the bytes of the tensors of a state."""
    if isinstance(state, tuple):
        return sum(map(size, state))
    return getattr(state, "nbytes", 0)


def measured_apart(script: str, *arguments: str) -> list[float]:
    """Return the numbers that a script prints, from a process of its own."""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=one_thread)
    return [float(number) for number in done.stdout.split()]


def report(long: int) -> bool:
    """Print a row for each variant and length, and return whether all stayed within the limit."""
    print(
        f"{'variant':8} {'tokens':>9} {'before, MB':>11} {'peak, MB':>9} {'ratio':>6} {'state, KB':>10} {'tokens/s':>9}"
    )
    fine = True
    for variant in VARIANTS:
        first = None
        for tokens in (SHORT, long):
            before, most, state, rate = measured_apart(__file__, "--stream", variant, "--long", str(tokens))
            first = first or most
            fine &= most <= ALLOWED * first
            held = f"{before / 1e6:11.1f} {most / 1e6:9.1f} {most / first:7.3f} {state / 1e3:10.1f}"
            print(f"{variant:8} {tokens:9,} {held} {rate:9,.0f}", flush=True)
    return fine


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", type=int, default=1_000_000, help="tokens of the long stream")
    parser.add_argument("--stream", choices=VARIANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stream:
        stream(given.stream, given.long)
    else:
        sys.exit(0 if report(given.long) else 1)
