"""Make AdamW and compute the learning rate of each step."""

from __future__ import annotations

import math

import torch
from torch import nn

from titans_lab.run.config import TrainConfig


def optimizer_for(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices only."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decayed = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in tables]
    rest = [p for p in model.parameters() if p.ndim < 2 or id(p) in tables]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of a step, counted from 0: linear warm-up, then cosine decay to `min_lr_ratio`."""
    rise = max(1, round(config.warmup_ratio * config.steps))
    if step < rise:
        return config.lr * (step + 1) / rise
    along = (step - rise) / max(1, config.steps - rise)
    return config.lr * (config.min_lr_ratio + (1 - config.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * along)))
