from __future__ import annotations

import pytest
import torch

from titans.ops.attention import naive_window_attention, window_attention


@pytest.mark.parametrize("time", [1, 5, 12, 37])
@pytest.mark.parametrize("window", [1, 4, 12, 100])
@pytest.mark.parametrize("tokens", [0, 3])
def test_blocks_equal_the_masked_product(time, window, tokens):
    q, k, v, q_prefix = (torch.randn(2, 2, time, 6, dtype=torch.float64, requires_grad=True) for _ in range(4))
    k_prefix, v_prefix = (torch.randn(1, 2, tokens, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    leaves = (q, k, v, q_prefix, k_prefix, v_prefix)
    found = []
    for form in (window_attention, naive_window_attention):
        y = form(q, k, v, window, (q_prefix, k_prefix, v_prefix))
        found.append((y, *torch.autograd.grad((y * torch.arange(y.numel()).view(y.shape)).sum(), leaves)))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-9)


def test_a_window_of_the_whole_length_is_full_attention():
    q, k, v = (torch.randn(1, 2, 9, 4, dtype=torch.float64) for _ in range(3))
    full = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(window_attention(q, k, v, 9), full)
