"""The layer of Momentum DeltaNet (MDN, arXiv 2605.05838)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.momentum_delta_rule import FASTEST_MOMENTUM, LARGEST_FEEDBACK, LARGEST_RATIO, PUBLISHED, SLOWEST
from titans.mixers.parts import Linear
from titans.mixers.recurrence import Decay, MatrixMixer, MatrixStream, QueryKeyValue, Readout, uniform_quantiles
from titans.mixers.recurrence_cost import sizes
from titans.models.config import ModelConfig
from titans.ops import momentum_delta_rule


class MomentumDeltaNet(MatrixMixer):
    """The delta rule with momentum, its gates constrained so that the state stays bounded.

    With u the step size times a ratio of the head, the momentum is added to the state with at most u^2 / (1 + u^2), and
    1 / (1 + u^2) of the state is kept at most. A token erases what its decayed key finds, and reads with q - d k. The
    gate on the output is a sigmoid.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, momentum_delta_rule)
        widths = sizes(config, PUBLISHED)
        self.temperature = config.dim**0.5
        self.inputs = QueryKeyValue(widths, silu=True, unit=False)
        gates = (Linear(config.dim, config.n_heads, bias=False) for _ in range(4))
        self.step_size, self.beta, self.momentum_step, self.step = gates
        self.momentum, self.decay = (Decay(config.n_heads, SLOWEST) for _ in range(2))
        ratio, feedback = (uniform_quantiles(config.n_heads, 0.0, top) for top in (LARGEST_RATIO, LARGEST_FEEDBACK))
        self.log_ratio, self.log_feedback = nn.Parameter(ratio.log().float()), nn.Parameter(feedback.log().float())
        self.readout = Readout(widths, gated=True, activation=torch.sigmoid)

    def start(self, batch: int) -> MatrixStream:
        """Return the state of `batch` sequences before their first token: S and M, `[batch, heads, 2, d_k, d_v]`."""
        stream = self.inputs.start(batch)
        return stream._replace(state=torch.stack((stream.state, stream.state), 2))

    def forward(self, x: Tensor, stream: MatrixStream) -> tuple[Tensor, MatrixStream]:
        """Mix the next tokens `[batch, time, dim]`."""
        q, k, v, tails = self.inputs(x, stream.tails)
        q = q - self.log_feedback.exp().view(-1, 1, 1) * k
        q, k = (F.normalize(y, dim=-1, eps=1e-6) for y in (q, k))
        eta = 1 + torch.tanh(self.step_size(x).mT / self.temperature)
        share = (eta * self.log_ratio.exp().unsqueeze(-1)).square()
        beta = share / (1 + share) * torch.sigmoid(self.beta(x).mT)
        _, log_momentum = self.momentum(self.momentum_step(x))
        _, log_decay = self.decay(self.step(x))
        log_decay = log_decay - torch.log1p(share)
        given = (q, k, v, log_decay.exp().unsqueeze(-1) * k, eta, beta, log_momentum.clamp(min=FASTEST_MOMENTUM))
        y, state = self.recur(stream.state, *given, log_decay)
        return self.readout(y, x), MatrixStream(state, tails)
