"""Quantities that follow from a run's configuration, by the names that studies call them by."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from shutil import which

from titans.models.cost import parameters, state_bytes, train_flops_per_token
from titans_lab.study.config import RunConfig
from titans_lab.tasks.settings import Ends, language_model_ends

#: FLOPs of a training, some ten minutes of a core: a tenth to a quarter of that is more than it takes to compile.
COMPILED_FROM = 2e13
TRAINING = 6  # FLOPs of a multiply-add, forward and backward

_parameters = lru_cache(maxsize=None)(parameters)  # many runs of a study share a model
_flops_per_token = lru_cache(maxsize=None)(train_flops_per_token)
_state_bytes = lru_cache(maxsize=None)(state_bytes)


def params(config: RunConfig) -> int:
    """Trainable numbers, embedding and output projection included."""
    usual, ends = _ends(config)
    return _parameters(config.model) + ends.parameters - usual.parameters


def flops_per_token(config: RunConfig) -> int:
    """To train, forward and backward."""
    usual, ends = _ends(config)
    train = config.train
    return _flops_per_token(config.model, train.seq_len, train.batch_size) + TRAINING * (ends.products - usual.products)


def _ends(config: RunConfig) -> tuple[Ends, Ends]:
    """What a language model has before and after its blocks, and what the task's model has there."""
    return language_model_ends(config.model), config.task.settings.ends(config.model, config.train.seq_len)


def tokens(config: RunConfig) -> int:
    """That the whole steps within the budget read."""
    return config.train.steps * config.train.batch_size * config.train.seq_len


def flops(config: RunConfig) -> int:
    """Of a whole training."""
    return flops_per_token(config) * tokens(config)


def state(config: RunConfig) -> int:
    """Bytes, in float32, that a sequence of `train.seq_len` leaves behind for the next one."""
    return _state_bytes(config.model, config.train.seq_len)


def kernel(config: RunConfig, device: str) -> str:
    """`speed.kernel`, in which "auto" on a CPU is "compiled" where a training is so long that compilation pays.

    Args:
        config: Of the run.
        device: Its kind, "cpu" or "cuda".
    """
    asked = config.speed.kernel
    pays = device == "cpu" and config.model.has_memory and flops(config) >= COMPILED_FROM
    return "compiled" if asked == "auto" and pays and which(os.environ.get("CXX", "g++")) else asked


#: What `where` and `exclude` may ask for beside the keys of a run.
DERIVED: dict[str, Callable[[RunConfig], int]] = {
    "params": params,
    "flops": flops,
    "flops_per_token": flops_per_token,
    "state_bytes": state,
    "steps": lambda config: config.train.steps,
}
