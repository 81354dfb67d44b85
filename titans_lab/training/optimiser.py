"""Make the optimizer of a training and compute the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from titans_lab.errors import UserError
from titans_lab.run.config import TrainConfig
from titans_lab.run.decay import parse_decay

Groups = list[dict[str, Any]]


class MuonWithAdamW:
    """Muon for the weights of linear layers in the blocks, and AdamW for all other parameters, as one optimizer.

    Args:
        groups: The parameters, in groups of equal weight decay.
        matrices: The ids of the parameters that Muon updates.
        config: The settings of both.
    """

    def __init__(self, groups: Groups, matrices: Collection[int], config: TrainConfig) -> None:
        # With this scale, updates are as large as AdamW's, so that both share a learning rate (arXiv 2502.16982).
        scaled = {"momentum": config.momentum, "adjust_lr_fn": "match_rms_adamw"}
        self.muon = torch.optim.Muon(_of(groups, lambda p: id(p) in matrices), lr=config.lr, **scaled)  # type: ignore[arg-type]
        self.adamw = _adamw(_of(groups, lambda p: id(p) not in matrices), config)

    @property
    def param_groups(self) -> Groups:
        """Return the groups of both."""
        return self.muon.param_groups + self.adamw.param_groups

    def zero_grad(self) -> None:
        """Remove all gradients."""
        self.muon.zero_grad()
        self.adamw.zero_grad()

    def step(self) -> None:
        """Update all parameters."""
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both, by their names."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume both from a state."""
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


Optimizer = torch.optim.Optimizer | MuonWithAdamW


def optimizer_for(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return the optimizer of a model. Raise UserError where a pattern of `decay_groups` matches no parameter."""
    groups = _groups(model, config)
    if config.optimizer == "muon":
        return MuonWithAdamW(groups, _hidden_matrices(model), config)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    return _adamw(groups, config)


def _adamw(groups: Groups, config: TrainConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def _groups(model: nn.Module, config: TrainConfig) -> Groups:
    """Return the parameters by their weight decay: matrices, the rest, and those of each of `decay_groups`."""
    named = parse_decay(config.decay_groups) if config.decay_groups else ()
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decays = (config.weight_decay, 0.0, *(group.decay for group in named))
    groups: Groups = [{"params": [], "weight_decay": decay} for decay in decays]
    for name, p in model.named_parameters():
        usual = int(p.ndim < 2 or id(p) in tables)
        chosen = next((number for number, group in enumerate(named, 2) if group.matches(name)), usual)
        groups[chosen]["params"].append(p)
    for group, found in zip(named, groups[2:], strict=True):
        if not found["params"]:
            names = [name for name, _ in model.named_parameters()]
            raise UserError(
                f"train.decay_groups: {group.pattern} matches no parameter that the patterns before it leave; "
                f"the model has {', '.join(names)}"
            )
    return groups


def _hidden_matrices(model: nn.Module) -> set[int]:
    """Return the ids of the weights of linear layers in the blocks."""
    inner = (module for name, module in model.named_modules() if name.startswith("blocks."))
    return {id(module.weight) for module in inner if isinstance(module, nn.Linear)}


def _of(groups: Groups, wanted: Any) -> Groups:
    return [group | {"params": list(filter(wanted, group["params"]))} for group in groups]


def learning_rate(config: TrainConfig, step: int, before: int = 0) -> float:
    """Return the learning rate of a step: linear warm-up, then what `lr_schedule` says.

    Args:
        config: The training.
        step: The step, counted from 0.
        before: The steps of an earlier training that goes on. The rate is that of one training with all steps.
    """
    step, steps = before + step, before + config.steps
    rise = max(1, round(config.warmup_ratio * steps))
    if step < rise:
        return config.lr * (step + 1) / rise
    return config.lr * (config.min_lr_ratio + (1 - config.min_lr_ratio) * _height(config, step, steps, rise))


def _height(config: TrainConfig, step: int, steps: int, rise: int) -> float:
    """Return the learning rate after the warm-up, from 1 at the peak to 0 at the final rate."""
    if config.lr_schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
    falls = {"linear": steps - rise, "wsd": round(config.decay_ratio * steps), "constant": 0}
    fall = falls[config.lr_schedule]
    return min(1.0, (steps - step) / fall) if fall else 1.0
