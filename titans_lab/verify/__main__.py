"""Check models on one device: `python -m titans_lab.verify --device cpu --seed 7`.

On standard input comes a list of [configuration, precisions, kernel] as JSON; a line of JSON goes out for each check.
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
from titans_lab.study.config import build, flatten
from titans_lab.verify.checks import CHECKS, Setting
from titans_lab.verify.reduced import checks_of


def main() -> None:
    """Answer what is asked."""
    parser = argparse.ArgumentParser(prog="python -m titans_lab.verify", description="Check models on one device.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # as workers do
    load_inherited()
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # of norms under autocast: only slower
    for values, precisions, kernel in json.load(sys.stdin):
        setting = Setting(build(ModelConfig, dict(flatten(values))), "", torch.device(given.device), given.seed, kernel)
        answer(setting, precisions)


def answer(setting: Setting, precisions: Sequence[str]) -> None:
    """All checks of a configuration; precisions innermost, for they share what the slow form says."""
    for check in checks_of(setting.config):
        error, tolerances = CHECKS[check]
        for precision in precisions:
            begin = perf_counter()
            worst = error(setting._replace(precision=precision))
            row = {"check": check, "precision": precision, "worst": worst, "tolerance": tolerances[precision]}
            print(json.dumps(row | {"seconds": perf_counter() - begin}), flush=True)


if __name__ == "__main__":
    main()
