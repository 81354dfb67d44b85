"""Measure a pair on one device: `python -m titans_lab.bench --device cpu --rounds 5`.

The process reads the pair as JSON: the configurations `model` and `baseline`, whether the baseline is titans-pytorch's
(`peer`), `precision`, `kernel`, and the `shape`: batch size and length. It writes a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from typing import Any

import torch

from titans.models.config import ModelConfig
from titans.models.language_model import LanguageModel, use_kernel
from titans_lab.bench.step import alternate, build, peak_bytes, product, step_of
from titans_lab.plugins.loading import load_inherited
from titans_lab.run.config import build as build_config
from titans_lab.run.config import flatten


def main() -> None:
    """Measure the pair that standard input names."""
    parser = argparse.ArgumentParser(prog="python -m titans_lab.bench", description="Measure a pair on one device.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # as workers do
    load_inherited()
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # norms under autocast: only slower
    print(json.dumps(answer(json.load(sys.stdin), given.rounds, torch.device(given.device))), flush=True)


def answer(asked: dict[str, Any], rounds: int, device: torch.device) -> dict[str, Any]:
    """Return the seconds of every round, a product's FLOPs, both peak memories and the baseline's parameters."""
    models = models_of(asked, device)
    batch, length = asked["shape"]
    tokens = torch.randint(models["model"].config.vocab_size, (batch, length + 1), device=device)
    plain, product_flops = product(device)
    steps = {name: step_of(model, tokens, asked["precision"]) for name, model in models.items()}
    turns = alternate({"product": plain, **steps}, rounds, device)  # first, so that its workspace counts for no model
    return {
        "seconds": {name: [turn.seconds for turn in each] for name, each in turns.items()},
        "product_flops": product_flops,
        "peak_memory_bytes": {name: peak_bytes(turns[name], model) for name, model in models.items()},
        "baseline_parameters": sum(p.numel() for p in models["baseline"].parameters() if p.requires_grad),
    }


def models_of(asked: dict[str, Any], device: torch.device) -> dict[str, LanguageModel]:
    """Return the model and its baseline."""
    torch.manual_seed(0)
    configs = {name: build_config(ModelConfig, dict(flatten(asked[name]))) for name in ("model", "baseline")}
    models = {
        name: build(config, peer=asked["peer"] and name == "baseline").to(device) for name, config in configs.items()
    }
    for model in models.values():
        use_kernel(model, asked["kernel"])
    return models


if __name__ == "__main__":
    main()
