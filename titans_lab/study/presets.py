"""Presets of a study by name, as values of dotted keys.

Those of the models, with each size how N25 trained it; and the levels of MAD.
"""

from __future__ import annotations

from typing import Any

from titans.models.presets import PRESETS as MODELS
from titans_lab.study.identity import flatten
from titans_lab.study.mad import mad_presets

#: N25, section on the setup: half a million tokens a step, context 4,096.
RECIPE = {"train.seq_len": 4096, "train.batch_size": 128, "train.weight_decay": 0.1}
#: Peak learning rate and tokens of each size.
BUDGETS = {
    "170M": (3e-3, 15_000_000_000),
    "340M": (1.5e-3, 15_000_000_000),
    "760M": (1.25e-3, 30_000_000_000),
    "1.3B": (7e-4, 100_000_000_000),
}


def _recipe(name: str) -> dict[str, Any]:
    if name not in BUDGETS:
        return {}
    lr, tokens = BUDGETS[name]
    return {**RECIPE, "train.lr": lr, "train.tokens": tokens}


#: What each preset sets; a study's own values come on top.
PRESETS: dict[str, dict[str, Any]] = {
    name: dict(flatten({"model": values})) | _recipe(name) for name, values in MODELS.items()
} | mad_presets()
