"""Attention with a short convolution on q, k and v, against forms that loop over tokens, and its segments in MAC."""

from __future__ import annotations

import pytest
import torch

from titans.mixers.attention import Attention
from titans.mixers.mac.layer import MemoryAsContext
from titans.mixers.parts import merge_heads, rotate, split_heads
from titans.models.config import MemoryConfig, ModelConfig, reads
from titans.models.presets import NEURIPS
from titans.ops.attention import naive_window_attention

DIM, HEADS, TIME = 12, 2, 19


def drawn(size: int) -> Attention:
    config = ModelConfig(variant="transformer", dim=DIM, n_heads=HEADS, attention_conv_size=size)
    attention = Attention(config).double()
    with torch.no_grad():
        for p in attention.parameters():
            p.copy_(torch.randn_like(p) * p.shape[-1] ** -0.5)
    return attention


def naively_projected(attention: Attention, name: str, x: torch.Tensor) -> torch.Tensor:
    """Project, then sum the last taps token by token; the last tap of the kernel belongs to the token itself."""
    y = x @ attention.get_parameter(f"{name}.weight").T
    taps = attention.get_parameter(f"convolutions.{name}.weight")
    size = taps.shape[1]
    rows = []
    for t in range(y.shape[1]):
        seen = [y[:, t - back] * taps[:, size - 1 - back] for back in range(min(size, t + 1))]
        rows.append(torch.stack(seen).sum(0))
    return split_heads(torch.stack(rows, 1), HEADS)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(("window", "tokens"), [(None, 0), (1, 3), (5, 3), (5, 0)])
def test_convolved_attention_equals_a_loop_over_tokens(size: int, window: int | None, tokens: int) -> None:
    attention, x = drawn(size), torch.randn(2, TIME, DIM, dtype=torch.float64, requires_grad=True)
    persistent = torch.randn(1, tokens, DIM, dtype=torch.float64, requires_grad=True)
    if window is None:
        y, _ = attention.full(x, attention.start(2))
    else:
        y, _ = attention.window(x, persistent, window, attention.start(2))

    q, k, v = (naively_projected(attention, name, x) for name in "qkv")
    prefix = None
    if tokens:
        prefix = (q, *(naively_projected(attention, name, persistent) for name in "kv"))
    naive = naive_window_attention(rotate(q), rotate(k), v, window or TIME, prefix)
    naive = merge_heads(naive) @ attention.out.weight.T

    leaves = [x, *([persistent] if tokens else []), *attention.parameters()]
    for found, true in zip(*(torch.autograd.grad(each.square().sum(), leaves) for each in (y, naive)), strict=True):
        torch.testing.assert_close(found, true, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(y, naive, rtol=1e-12, atol=1e-12)


def test_one_tap_is_no_convolution() -> None:
    assert {name for name, _ in drawn(1).named_parameters()} == {f"{name}.weight" for name in ("q", "k", "v", "out")}


def test_in_mac_no_segment_sees_another_one_through_the_convolution_of_attention() -> None:
    """With writes that change nothing, the segments of MAC are independent, whatever the convolution's taps."""
    config = ModelConfig(
        variant="mac", dim=DIM, n_heads=HEADS, segment_len=6, conv_size=1, attention_conv_size=4, persistent_tokens=2,
        memory=MemoryConfig(chunk_size=3, theta_scale=0.0, forgetting=False),
    )  # fmt: skip
    layer = MemoryAsContext(config).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn_like(p) * p.shape[-1] ** -0.5)
    x = torch.randn(1, 18, DIM, dtype=torch.float64, requires_grad=True)
    y, _ = layer(x, layer.start(1))
    (gradient,) = torch.autograd.grad(y[:, 6:12].square().sum(), x)
    assert gradient[:, :6].abs().max() == 0
    assert gradient[:, 12:].abs().max() == 0
    assert gradient[:, 6:12].abs().amax(-1).min() > 0


def test_the_preset_of_the_camera_ready_convolves_and_transformer_plus_plus_does_not() -> None:
    assert NEURIPS["attention_conv_size"] == 4
    assert ModelConfig(variant="transformer").attention_conv_size == 1
    with_it = {"transformer", "window", "mac", "mag", "mal", "samba", "gated_deltanet_h2"}
    assert {v for v in (*with_it, "lmm", "mamba", "gated_deltanet") if "attention_conv_size" in reads(v)} == with_it
