"""The presets of a study by name, as values of dotted keys: the paper's models, sizes with training, recipes, MAD.

A recipe is for a family of tasks and a variant: settings by which the variant is known to learn the task, such as
"needle-mac". docs/recipes.md says how each was found, what it reached, and over how many seeds.

MAD (arXiv 2403.17844) has a baseline for each task, and levels of difficulty that differ from it in one value. MAD
takes the best of three learning rates and two weight decays on each level, and the mean over the levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from titans.models.config import flatten
from titans.models.presets import PRESETS as MODELS

#: The Titans paper's training of each size (arXiv 2501.00663, NeurIPS 2025 camera-ready): half a million tokens per
#: step, and a context of 4,096 tokens.
TRAINING = {"train.seq_len": 4096, "train.batch_size": 128, "train.weight_decay": 0.1}
#: Peak learning rate and training tokens of each size.
BUDGETS = {
    "170M": (3e-3, 15_000_000_000),
    "340M": (1.5e-3, 15_000_000_000),
    "760M": (1.25e-3, 30_000_000_000),
    "1.3B": (7e-4, 100_000_000_000),
}

Values = dict[str, Any]

#: Needles, in sequences of 128 bytes first and of 1,024 bytes at the end.
NEEDLE: Values = {
    "model.dim": 64,
    "model.n_layers": 2,
    "model.n_heads": 1,
    "task.name": "needle",
    "task.needle.template": "brief",
    "task.needle.loss": "answer",
    "train.tokens": 3_072_000,
    "train.seq_len": 1024,
    "train.batch_size": 4,
    "train.lr": 3e-3,
    "train.schedule": "128 25% then 256 20% then 512 20% then 1024 35%",
}
#: A short convolution in attention, as the memories have one.
CONVOLVED: Values = {"model.attention_conv_size": 4}
#: A linear memory anchored at every token: the delta rule with momentum and forgetting, computed exactly in blocks.
EXACT: Values = {
    "model.memory.depth": 1,
    "model.memory.chunk_size": 1,
    "model.memory.residual": False,
    "model.memory.theta_scale": 0.5,
}
#: Steps that are learned by equal factors, so that a token that need not be kept is hardly written. What is written
#: between needle and question decides up to which length a needle is found.
SELECTIVE: Values = EXACT | {
    "model.memory.theta_scale": 0.05,
    "model.memory.theta_ceiling": 1.0,
    "model.memory.theta_range": "log",
}
#: What a variant has besides its family's settings, family by family.
RECIPES: dict[str, tuple[Values, dict[str, Values]]] = {
    "needle": (
        NEEDLE,
        {
            "transformer": CONVOLVED,
            "lmm": SELECTIVE,
            "mac": CONVOLVED | EXACT | {"model.mac.write": "input"},
            "mag": CONVOLVED | SELECTIVE,
            "mal": CONVOLVED | SELECTIVE,
        },
    ),
}

#: 200 epochs of AdamW with its default betas and cosine decay to 1e-6, without gradient clipping.
EPOCHS = 200
MAD_RECIPE = {
    "train.batch_size": 128,
    "train.warmup_ratio": 0.0,
    "train.min_lr_ratio": 0.002,
    "train.beta1": 0.9,
    "train.beta2": 0.999,
    "train.max_grad_norm": 1e9,
}

EXAMPLES = [6400, 3200, 1600, 800]
#: The baseline of each task, and the values that its levels replace (configs/tasks of github.com/athms/mad-lab).
TASKS: dict[str, tuple[Values, dict[str, list[Any]]]] = {
    "in_context_recall": (
        {"vocabulary": 16, "length": 128, "examples": 12_800},
        {"vocabulary": [32, 64, 128], "length": [256, 512, 1024], "examples": EXAMPLES},
    ),
    "noisy_in_context_recall": (
        {"vocabulary": 32, "length": 128, "examples": 12_800, "noise_vocabulary": 16, "noise": 0.2},
        {"vocabulary": [48, 80, 144], "length": [256, 512, 1024], "examples": EXAMPLES, "noise": [0.4, 0.6, 0.8]},
    ),
    "fuzzy_in_context_recall": (
        {"vocabulary": 16, "length": 128, "examples": 12_800, "key_tokens": 3, "value_tokens": 3},
        {"vocabulary": [32, 64, 128], "length": [256, 512, 1024], "examples": EXAMPLES},
    ),
    "selective_copying": (
        {"vocabulary": 16, "length": 256, "examples": 12_800, "copied": 16},
        {"vocabulary": [32, 64, 128], "length": [512, 1024], "examples": EXAMPLES, "copied": [32, 64, 96]},
    ),
    "memorization": (
        {"vocabulary": 256, "length": 32, "examples": 256},
        {"vocabulary": [512, 1024, 2048, 4096, 8192]},
    ),
    "compression": (
        {"vocabulary": 16, "length": 32, "examples": 12_800},
        {"vocabulary": [32, 64, 128], "length": [64, 128, 256], "examples": EXAMPLES},
    ),
}


def recipes() -> dict[str, Values]:
    """Return the recipes by name, such as "needle-mac"."""
    return {
        f"{family}-{variant}": {"model.variant": variant} | shared | own
        for family, (shared, variants) in RECIPES.items()
        for variant, own in variants.items()
    }


def mad_presets() -> dict[str, dict[str, Any]]:
    """Return MAD's presets by name, such as "mad-compression" and "mad-compression-length-64"."""
    return {name: _values(task, level) for task in TASKS for name, level in _levels(task)}


def _levels(task: str) -> Iterator[tuple[str, Values]]:
    baseline, changes = TASKS[task]
    yield _name(task), baseline
    for key, values in changes.items():
        yield from ((_name(task, key, value), baseline | {key: value}) for value in values)


def _name(*parts: object) -> str:
    return "-".join(("mad", *(str(part).replace("_", "-") for part in parts)))


def _values(task: str, level: Values) -> dict[str, Any]:
    settings = {f"task.{task}.{key}": value for key, value in level.items() if key != "length"}
    train = {"train.seq_len": level["length"], "train.tokens": EPOCHS * level["examples"] * level["length"]}
    return {"task.name": task, "model.vocab_size": level["vocabulary"], **settings, **train, **MAD_RECIPE}


def _training(name: str) -> dict[str, Any]:
    if name not in BUDGETS:
        return {}
    lr, tokens = BUDGETS[name]
    return {**TRAINING, "train.lr": lr, "train.tokens": tokens}


#: The values of each preset. A study's own values override them.
PRESETS: dict[str, dict[str, Any]] = {
    **{name: dict(flatten({"model": values})) | _training(name) for name, values in MODELS.items()},
    **recipes(),
    **mad_presets(),
}
