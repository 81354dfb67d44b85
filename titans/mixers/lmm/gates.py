"""The gates of the long-term memory: theta, eta and alpha of every token, and with a window gamma."""

from __future__ import annotations

from math import expm1, log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.models.config import ModelConfig
from titans.ops.linear import linear
from titans.ops.neural_memory.state import Gate


class MemoryGates(nn.Module):
    """The gates of every token: step size theta, momentum eta and forgetting alpha.

    A gate has one value for each head, for each head and layer of the memory, or for each channel of a layer's input.
    The gates gamma of a window and the threshold of the objective huber are beside them, for each head.

    Args:
        config: What to build.
        inputs: Width of the input of each layer that is written, by the layer's number; 0 for a gain, which has none.
    """

    def __init__(self, config: ModelConfig, inputs: dict[int, int]) -> None:
        super().__init__()
        memory = config.memory
        self.memory, self.heads, self.written = memory, config.n_heads, tuple(inputs)
        start, ceiling = memory.step_scale(config.head_dim), memory.step_ceiling(config.head_dim)
        self.damped = memory.theta_damping and memory.inner_optimizer == "gd"
        self.step, self.budget = ceiling / memory.chunk_size, memory.step_budget(config.head_dim)
        # The natural logarithm of the range, from start^2 / ceiling to ceiling.
        self.decades = 2 * log(ceiling / start) if memory.theta_range == "log" else None
        linear = memory.theta_range == "linear" and memory.theta_ceiling is not None
        biases = {"theta": log(start / (ceiling - start)) if linear else 0.0}
        if memory.momentum:
            biases["eta"] = memory.eta_bias
        if memory.forgetting:
            biases["alpha"] = memory.alpha_bias
        by_channel = {"none": (), "alpha": ("alpha",), "all": ("eta", "alpha")}[memory.gate_channels]
        by_layer = memory.gates_per_layer or memory.gate_channels != "none"
        one_set = [1] * (len(inputs) if by_layer else 1)
        if memory.window > 1:
            biases["gamma"] = memory.gamma_bias
        if memory.objective == "huber":
            biases["threshold"] = log(expm1(memory.huber_threshold * config.head_dim**0.5))
        channels = [max(1, width) for width in inputs.values()]
        self.widths = {name: channels if name in by_channel else one_set for name in biases}  # values of each set
        self.widths |= {name: [size] for name, size in (("gamma", memory.window), ("threshold", 1)) if name in biases}
        rows = {name: config.n_heads * sum(widths) for name, widths in self.widths.items()}
        self.init_std = {"weight": 0.0}  # gates start the same for all tokens
        self.weight = nn.Parameter(torch.zeros(sum(rows.values()), config.dim))
        self.bias = nn.Parameter(torch.cat([torch.full((rows[name],), bias) for name, bias in biases.items()]))

    def logits(self, x: Tensor) -> Tensor:
        """Return the gates' logits `[batch, time, gates]` for tokens `[batch, time, dim]`, in full precision."""
        with torch.autocast(x.device.type, enabled=False):  # alpha and 1 - eta are small differences
            return linear(x.to(self.weight.dtype), self.weight, self.bias)

    def forward(
        self, logits: Tensor, chunk_size: int, first: Tensor | None = None, spent: Tensor | None = None
    ) -> tuple[Gate, Gate | None, Gate | None]:
        """Return theta, eta and alpha in the shapes that `neural_memory` takes; None for a gate that is off.

        Args:
            logits: `[batch, time, gates]`, of tokens whose first one starts a group of `update_every`.
            chunk_size: Tokens of a chunk.
            first: Logits of the first token of the chunk that these tokens continue, `[batch, 1, gates]`. None: the
                first of them starts a chunk.
            spent: Steps of the chunk's tokens before these, `[batch, heads, sets]`: see `steps`. None: like `first`.
        """
        by_name = {name: x for name, x in self._by_name(logits).items() if name in ("theta", "eta", "alpha")}
        firsts = {} if first is None else self._by_name(first)
        for name in by_name.keys() - {"theta"}:
            by_name[name] = self._spanned(by_name[name], chunk_size, firsts.get(name))
        sets = {name: self._sets(x, self.widths[name]) for name, x in by_name.items()}
        eta = sets.get("eta")
        theta = [self._step(x) for x in sets["theta"]]
        if self.budget is not None:
            befores = [None] * len(theta) if spent is None else spent.unbind(-1)
            theta = [self._within_budget(x, chunk_size, before) for x, before in zip(theta, befores, strict=True)]
            gamma = self.gamma(logits)
            if gamma is not None:  # a step of the window is the sum of its gates times as large
                theta = [x / gamma.sum(-1).clamp(min=1) for x in theta]
        if eta is not None and self.damped:  # momentum sums 1 / (1 - eta) steps
            theta = [x * (1 - (e.mean(-1) if e.dim() == 4 else e)) for x, e in zip(theta, eta, strict=True)]
        gates = {name: self._for_layers(each) for name, each in (sets | {"theta": theta}).items()}
        return gates["theta"], gates.get("eta"), gates.get("alpha")

    def steps(self, logits: Tensor) -> Tensor | None:
        """Return the sum of the steps of tokens, before budget and damping, `[batch, heads, sets]`; None: no budget."""
        if self.budget is None:
            return None
        rows = self.heads * sum(self.widths["theta"])
        sets = self._sets(logits[..., :rows], self.widths["theta"])
        return torch.stack([self._step(x).sum(-1) for x in sets], -1)

    def gamma(self, logits: Tensor) -> Tensor | None:
        """Return the window's gates `[batch, heads, time, window]`, from logits `[batch, time, gates]`."""
        found = self._by_name(logits).get("gamma")
        return None if found is None else self._sets(found, self.widths["gamma"])[0]

    def thresholds(self, logits: Tensor) -> Tensor | None:
        """Return the thresholds of the objective huber, `[batch, heads, time]`, from logits `[batch, time, gates]`."""
        found = self._by_name(logits).get("threshold")
        return None if found is None else F.softplus(found).transpose(1, 2)

    def _by_name(self, logits: Tensor) -> dict[str, Tensor]:
        """Return the logits `[batch, time, values]` of each gate."""
        sizes = [self.heads * sum(widths) for widths in self.widths.values()]
        return dict(zip(self.widths, logits.split(sizes, -1), strict=True))

    def _step(self, gate: Tensor) -> Tensor:
        """Return the step size for a gate between 0 and 1, both `[batch, heads, time]`."""
        return self.step * (gate if self.decades is None else torch.exp(self.decades * (gate - 1)))

    def _within_budget(self, steps: Tensor, chunk_size: int, spent: Tensor | None) -> Tensor:
        """Shrink steps `[batch, heads, time]` so that those of a chunk sum to less than the budget.

        `spent` `[batch, heads]` is the sum of the steps before them, if they continue a chunk.
        """
        assert self.budget is not None
        time = steps.shape[-1]
        chunks = F.pad(steps, (0, -time % chunk_size)).unflatten(-1, (-1, chunk_size)) / self.budget
        before = F.pad(chunks.cumsum(-1)[..., :-1], (1, 0))
        if spent is not None:
            before = before + (spent / self.budget)[..., None, None]
        return (self.budget * torch.exp(-before) * -torch.expm1(-chunks)).flatten(-2)[..., :time]

    def _spanned(self, logits: Tensor, chunk_size: int, first: Tensor | None) -> Tensor:
        """Give all tokens of a chunk the logits of its first token, or all tokens of a group their mean."""
        if self.memory.gate_span == "token":
            return logits
        if self.memory.gate_span == "chunk":
            chunks = logits.split(chunk_size, 1)
            return torch.cat([(x[:, :1] if first is None else first).expand_as(x) for x in chunks], 1)
        groups = logits.split(self.memory.update_every, 1)
        return torch.cat([group.mean(1, keepdim=True).expand_as(group) for group in groups], 1)

    def _sets(self, logits: Tensor, widths: list[int]) -> list[Tensor]:
        """Return the gates of each set, between 0 and 1: `[batch, heads, time]` or `[batch, heads, time, channels]`."""
        sets = torch.sigmoid(logits).split([self.heads * width for width in widths], -1)
        split = [x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in sets]
        return [x.squeeze(-1) if width == 1 else x for x, width in zip(split, widths, strict=True)]

    def _for_layers(self, sets: list[Tensor]) -> Gate:
        """Return one gate for all layers, or one for each. A layer that is not written ignores its gate of zeros."""
        if len(sets) == 1 and sets[0].dim() == 3:
            return sets[0]
        idle = sets[0].new_zeros(sets[0].shape[:3])
        by_layer = dict(zip(self.written, sets, strict=True))
        return tuple(by_layer.get(layer, idle) for layer in range(self.memory.layers))
