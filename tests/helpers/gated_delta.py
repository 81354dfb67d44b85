"""The gated delta rule as a memory: how its arguments follow from the memory's (arXiv 2412.06464)."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def as_delta_rule(arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Return the rule's k, v, decay, beta and state for a linear memory with summed loss, without momentum, at chunk 1.

    Expanding the memory's step gives W (1 - alpha - 2 theta k k^T) + 2 theta v k^T. So decay = 1 - alpha is taken out
    of the bracket, and out of the values, and beta = 2 theta / decay remains.
    """
    decay = 1 - arguments["alpha"]
    return {
        "q": arguments["q"], "k": arguments["k"], "v": decay.unsqueeze(-1) * arguments["v"],
        "decay": decay, "beta": 2 * arguments["theta"] / decay, "state": arguments["state"].weights[0],
    }  # fmt: skip
