"""Check models on one device: `python -m titans_lab.verify --device cpu --seed 7`.

The process reads a list of [configuration, precisions, kernel] as JSON and writes a line of JSON for each check.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from time import perf_counter

import torch

from titans.models.config import ModelConfig
from titans_lab.plugins.loading import load_inherited
from titans_lab.run.config import build, flatten
from titans_lab.verify.checks import CHECKS, CheckCase
from titans_lab.verify.reduced import checks_of


def main() -> None:
    """Check the models that standard input names."""
    parser = argparse.ArgumentParser(prog="python -m titans_lab.verify", description="Check models on one device.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # as workers do
    load_inherited()
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # norms under autocast: only slower
    warnings.filterwarnings("ignore", "kernel='cpu' does not support a call")  # then a run's calls are torch's, too
    for values, precisions, kernel in json.load(sys.stdin):
        config = build(ModelConfig, dict(flatten(values)))
        answer(CheckCase(config, "", torch.device(given.device), given.seed, kernel), precisions)


def answer(case: CheckCase, precisions: Sequence[str]) -> None:
    """Run all checks of a configuration. Its precisions come last, since they share what the reference form gives."""
    for check in checks_of(case.config):
        error, tolerances = CHECKS[check]
        for precision in precisions:
            begin = perf_counter()
            worst = error(case._replace(precision=precision))
            row = {"check": check, "precision": precision, "worst": worst, "tolerance": tolerances[precision]}
            print(json.dumps(row | {"seconds": perf_counter() - begin}), flush=True)


if __name__ == "__main__":
    main()
