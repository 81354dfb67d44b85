from __future__ import annotations

import torch

from titans.ops.neural_memory.coefficients import Gates, chunk_coefficients


def test_the_two_tokens_of_the_docstring():
    theta, eta, alpha = (torch.full((1, 2), gate, dtype=torch.float64) for gate in (0.1, 0.5, 0.25))
    found = chunk_coefficients(Gates(theta, eta, alpha), size=2)
    assert isinstance(found.mask, torch.Tensor)
    assert [[round(share, 12) for share in row] for row in found.mask[0, 0].tolist()] == [[0.1, 0], [0.125, 0.1]]
    columns = [found.start, found.drift, found.into_weights, found.into_momentum, found.decay]
    assert [[round(share, 12) for share in column.flatten().tolist()] for column in columns] == [
        [0.75, 0.5625],
        [0.5, 0.625],
        [0.125, 0.1],
        [0.05, 0.1],
        [0.25],
    ]
