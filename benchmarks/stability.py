"""Measure whether the initial memory stays finite and trainable over long sequences, as a Markdown table.

    python benchmarks/stability.py                                  the layer, float32, on the CPU
    python benchmarks/stability.py --peer                           beside it titans-pytorch (the extra `peers`)
    python benchmarks/stability.py --lengths 512 2048 --depths 2    less of it; lengths are multiples of the chunks

Each row is one layer of 2 heads of 32 over one sequence, with MemoryConfig's own gates and the outer gradient through
all writes, of L = sum over all outputs of output x unit noise, so that nothing is divided by the length.

||W_T|| / ||W_0||   least and greatest, of any memory layer and head
scale               theta_scale: the step size at the start, times the chunk, over (1 - eta)
max |dL/dk|         of any number of any key
||dL/dp||           by all of the layer's parameters
w/o first, w/o late how much the last 16 outputs change, over their largest, if token 3, or the 100th from the end, is
                    not written

The keys are "correlated" (tokens x_t = 0.9 x_{t-1} + noise through the layer's own projection, convolution, SiLU and L2
norm), "isotropic" unit vectors, or "constant". titans-pytorch gets the same tokens, its base refreshed every chunk or
never.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.mixers.lmm.layer import NeuralMemory
from titans.models.config import MemoryConfig, ModelConfig
from titans.models.language_model import initialise
from titans.ops import neural_memory
from titans.ops.neural_memory.state import Gate, State

HEADS, HEAD_DIM, EARLY, LATE, LAST = 2, 32, 3, -100, 16
DIM = HEADS * HEAD_DIM
KEYS = ("correlated", "isotropic", "constant")
NUMBERS = (r"\|\|W_T\|\| / \|\|W_0\|\|", r"max \|dL/dk\|", r"\|\|dL/dp\|\|", "w/o first", "w/o late")
MOST_CHUNKS = 512  # chunks for titans-pytorch, which keeps the weights of each; more take tens of gigabytes


class Case(NamedTuple):
    """One row; `draw` seeds the initial weights, `scale` is `theta_scale`."""

    form: str
    keys: str
    depth: int
    chunk: int
    length: int
    draw: int
    scale: float


@dataclass
class Probe:
    """Replaces the layer's operator: gives it the keys of the case, and records keys and norms.

    Attributes:
        keys: The kind of keys, one of `KEYS`.
        unwritten: A token whose step size is 0, or None.
        k, ratios: The recorded keys, and ||W_T|| / ||W_0|| of every layer and head.
    """

    keys: str
    unwritten: int | None = None
    k: Tensor = field(default_factory=lambda: torch.empty(0))
    ratios: Tensor = field(default_factory=lambda: torch.empty(0))

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, theta: Gate, eta: Any, alpha: Any, state: State, *rest: Any, **how: Any
    ) -> tuple[Tensor, State]:
        """Call the operator, as `neural_memory`."""
        q, self.k = self._prescribed(q, k)
        if self.unwritten is not None:
            theta = without(theta, self.unwritten)
        y, end = neural_memory(q, self.k, v, theta, eta, alpha, state, *rest, **how)
        self.ratios = norm_ratios(end.weights, state.weights)
        return y, end

    def _prescribed(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys == "correlated":
            if k.requires_grad:
                k.retain_grad()
            return q, k
        if self.keys == "constant":
            k = k[:, :, :1].detach().expand_as(k)
            return k, k.clone().requires_grad_()
        drawn = torch.randn(2, *k.shape, generator=torch.Generator().manual_seed(1))
        q, k = F.normalize(drawn, dim=-1)
        return q, k.requires_grad_()


def without(theta: Gate, token: int) -> Gate:
    """Return the step sizes with 0 for one token."""
    keep = torch.ones_like(theta[0] if isinstance(theta, tuple) else theta)
    keep[:, :, token] = 0
    return tuple(each * keep for each in theta) if isinstance(theta, tuple) else theta * keep


def norm_ratios(end: Iterable[Tensor], start: Iterable[Tensor]) -> Tensor:
    """Return ||W_T|| / ||W_0|| of each matrix `[..., d, d]`."""
    return torch.cat([(a.norm(dim=(-2, -1)) / b.norm(dim=(-2, -1))).flatten() for a, b in zip(end, start, strict=True)])


def tokens(length: int) -> Tensor:
    """Return a sequence in which neighbours resemble each other, numbers of unit size: `[1, length, DIM]`."""
    x = torch.randn(1, length, DIM, generator=torch.Generator().manual_seed(0))
    for t in range(1, length):
        x[:, t] = 0.9 * x[:, t - 1] + (1 - 0.9**2) ** 0.5 * x[:, t]
    return x


def unit_noise(y: Tensor) -> Tensor:
    """Return the random weights `[...]` of the outputs in L."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(2))


def gradient_norm(module: nn.Module) -> float:
    """Return the norm of the gradient of all parameters together."""
    return float(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]).norm())


def layer_of(case: Case) -> NeuralMemory:
    """Return the layer as a model initialises it."""
    residual = case.form == "residual"
    memory = MemoryConfig(depth=case.depth, chunk_size=case.chunk, residual=residual, theta_scale=case.scale)
    layer = NeuralMemory(ModelConfig(variant="lmm", dim=DIM, n_heads=HEADS, memory=memory))
    initialise(layer, case.draw)
    return layer


@torch.no_grad()
def changes(layer: NeuralMemory, case: Case, x: Tensor) -> Iterator[float]:
    """Yield how much the last outputs change, over their largest, without an early and without a late write."""
    layer.operator = Probe(case.keys)
    y = layer(x, layer.start(1))[0][:, -LAST:]
    for token in (EARLY, LATE):
        layer.operator = Probe(case.keys, unwritten=token)
        yield float((layer(x, layer.start(1))[0][:, -LAST:] - y).abs().max() / y.abs().max())


def measure(case: Case) -> list[float]:
    """Return the numbers of a row."""
    x, layer = tokens(case.length), layer_of(case)
    probe = layer.operator = Probe(case.keys)
    y = layer(x, layer.start(1))[0]
    (y * unit_noise(y)).sum().backward()
    greatest = float(probe.k.grad.abs().max())
    ratios = probe.ratios.detach()
    return [float(ratios.min()), float(ratios.max()), greatest, gradient_norm(layer), *changes(layer, case, x)]


def measure_peer(case: Case) -> list[float]:
    """Return the same of titans-pytorch's `NeuralMemory`, as it begins; it cannot leave a write out."""
    from titans_pytorch import NeuralMemory as Peer

    torch.manual_seed(case.draw)
    refreshed = {"refreshed": case.chunk, "never refreshed": None}[case.form]
    peer = Peer(
        dim=DIM, dim_head=HEAD_DIM, heads=HEADS, chunk_size=case.chunk, batch_size=refreshed,
        default_model_kwargs={"depth": case.depth, "expansion_factor": 4.0},
    )  # fmt: skip
    seen: list[Tensor] = []
    peer.to_keys.register_forward_hook(lambda _module, _inputs, k: seen.append(k))
    peer.to_keys.register_forward_hook(lambda _module, _inputs, k: k.retain_grad())
    y, state = peer(tokens(case.length))
    (y * unit_noise(y)).sum().backward()
    names, initial = peer.memory_model_parameter_names, peer.memory_model_parameters
    pairs = [(state.states[0][name], w) for name, w in zip(names, initial, strict=True) if w.ndim == 3]
    ratios = norm_ratios(*zip(*pairs, strict=True)).detach()
    return [float(ratios.min()), float(ratios.max()), max(float(k.grad.abs().max()) for k in seen), gradient_norm(peer)]


def shown(number: float) -> str:
    """Return a number with three digits, or that it is not finite."""
    return f"{number:.3g}"


def print_table(cases: Iterable[Case], measured: Any) -> None:
    """Print each row of the table as soon as it is measured."""
    columns = (*Case._fields, *NUMBERS)
    print("|", " | ".join(columns), "|\n" + "|---" * len(columns) + "|", flush=True)
    for case in cases:
        least, most, *others = measured(case)
        others = [shown(x) for x in others] + ["-"] * (4 - len(others))
        print("|", " | ".join([*map(str, case), f"{shown(least)} .. {shown(most)}", *others]), "|", flush=True)


def our_cases(given: argparse.Namespace) -> Iterator[Case]:
    """Yield the layer's rows, at its own step size unless one is given."""
    for form, keys, depth, chunk, length, draw in product(
        given.forms, given.keys, given.depths, given.chunks, given.lengths, given.draws
    ):
        own = MemoryConfig(depth=depth, residual=form == "residual").step_scale(HEAD_DIM)
        yield Case(form, keys, depth, chunk, length, draw, own if given.scale is None else given.scale)


def peer_cases(given: argparse.Namespace) -> Iterator[Case]:
    """Yield the rows of titans-pytorch, whose step sizes begin around 1/2."""
    for form, depth, chunk, length, draw in product(
        ("refreshed", "never refreshed"), given.depths, given.chunks, given.lengths, given.draws
    ):
        if length <= MOST_CHUNKS * chunk:
            yield Case(form, "correlated", depth, chunk, length, draw, chunk / 2)


def main() -> None:
    """Parse the arguments, measure the cases, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"depths": [1, 2, 4], "chunks": [16, 64], "lengths": [512, 2048, 8192, 32768], "draws": [0]}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, nargs="+", default=default)
    parser.add_argument("--keys", nargs="+", choices=KEYS, default=KEYS)
    parser.add_argument("--forms", nargs="+", choices=("residual", "plain"), default=("residual", "plain"))
    parser.add_argument("--scale", type=float, help="theta_scale; else the default of the depth and form")
    parser.add_argument("--peer", action="store_true", help="titans-pytorch too, of the extra `peers`")
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # as a worker does
    print_table(our_cases(given), measure)
    if given.peer:
        print()
        print_table(peer_cases(given), measure_peer)


if __name__ == "__main__":
    main()
