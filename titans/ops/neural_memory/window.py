"""The window of the Omega rule: a token takes a step on the losses of the last tokens, not on its own alone.

Paper: ATLAS (arXiv 2505.23735), eq. 9 and section 3.2. With a window of c tokens and a gate gamma for each of them,

    S_t = eta_t S_{t-1} - theta_t sum_{j < c} gamma_t[j] grad loss(M; k_{t-j}, v_{t-j})

so that a write is applied again at each of the next c - 1 tokens. The paper's gate of token i at token t, gamma_i^(t),
is gamma_t[t - i] here: a token has c gates, as the paper proposes for a parallel form. A window of 1 is Titans.

In the closed form only the coefficients of the writes change: with Gamma[s, i] = gamma_s[s - i], a mask C becomes
C Gamma. Its columns, and the keys, values and thresholds, begin with those of the c - 1 tokens before the chunk, the
halo, whose gradients are taken anew where the chunk starts. Before the first token of a sequence the halo is zeros: a
key of zeros passes every layer as zeros, so that nothing is written.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def band(gamma: Tensor) -> Tensor:
    """Return Gamma: the share that each token's step has of each write, the halo's first.

    Args:
        gamma: `[..., C, window]`, the gate of the write j tokens before at place j.

    Returns:
        `[..., C, C + window - 1]`; row s has its gates at the columns s to s + window - 1.
    """
    tokens, window = gamma.shape[-2:]
    columns = tokens + window - 1
    rows = F.pad(gamma.flip(-1), (0, columns + 1 - window)).flatten(-2)  # in rows one too long, each begins one later
    return rows[..., : tokens * columns].unflatten(-1, (tokens, columns))


def with_halo(
    tokens: tuple[Tensor, Tensor, Tensor | None], recent: tuple[Tensor, ...] | None, window: int
) -> list[Tensor]:
    """Return what tokens write, after what the window - 1 tokens before them wrote.

    Args:
        tokens: k and v, `[batch, heads, time, dim]`, and the thresholds `[batch, heads, time]`, or None.
        recent: The same of at most window - 1 tokens before, without None. None: there are none.
        window: Tokens of the window.

    Returns:
        `[batch, heads, window - 1 + time, ...]` each; thresholds, if there are any, have a dimension of 1 at the end.
    """
    given = [_columns(x) for x in tokens if x is not None]
    if window == 1:
        return given
    before = [_columns(x) for x in recent] if recent else [x[:, :, :0] for x in given]
    missing, empty = window - 1 - before[0].shape[2], (0.0, 0.0, 1.0)  # a threshold is above 0
    joined = (torch.cat(pair, 2) for pair in zip(before, given, strict=True))
    return [F.pad(x, (0, 0, missing, 0), value=value) for x, value in zip(joined, empty, strict=False)]


def _columns(x: Tensor) -> Tensor:
    return x if x.dim() == 4 else x.unsqueeze(-1)
