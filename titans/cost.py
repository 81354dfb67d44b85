"""What a model costs, in closed form and without torch: parameters, FLOPs and the size of a stream's state.

FLOPs are those of the matrix products and convolutions as they are executed (a multiply-add is two); PAPER-level
estimates leave out what these include, such as the half of a causal mask that is computed and thrown away.
"""

from __future__ import annotations

from collections.abc import Callable

from titans.models.config import ModelConfig

FLOAT = 4  # bytes
LINEAR_BLOCK = 64  # of titans/ops/neural_memory/linear.py, which imports torch


def parameters(config: ModelConfig) -> int:
    """Trainable numbers, embedding and output projection included."""
    mixer = _MIXER_PARAMETERS[config.variant](config)
    block = mixer + 2 * config.dim + 3 * config.dim * config.hidden
    return config.blocks * block + 2 * config.vocab_size * config.dim + config.dim


def forward_flops(config: ModelConfig, length: int, batch: int) -> int:
    """FLOPs of one forward pass over `batch` sequences of `length` tokens."""
    tokens = batch * length
    block = _MIXER_PRODUCTS[config.variant](config, length, batch) + tokens * 3 * config.dim * config.hidden
    return 2 * (config.blocks * block + tokens * config.dim * config.vocab_size)


def train_flops_per_token(config: ModelConfig, length: int, batch: int) -> int:
    """Forward and backward, which is taken as twice the forward pass; recomputation does not count."""
    return 3 * forward_flops(config, length, batch) // (batch * length)


def state_bytes(config: ModelConfig, length: int) -> int:
    """Bytes, in float32, that a sequence of `length` tokens leaves behind for the next one, at a chunk's boundary."""
    dim = config.dim
    memory = 2 * config.heads * _memory_weights(config) + 3 * (config.conv_width - 1) * dim
    cached = {
        "transformer": 2 * length * dim,
        "lmm": memory,
        "mac": memory + (config.conv_width - 1) * dim + 4 * config.segment * dim,
        "mag": memory + 2 * (config.window - 1) * dim,
        "mal": memory + 2 * (config.window - 1) * dim,
    }
    return FLOAT * config.blocks * cached[config.variant]


def _widths(config: ModelConfig) -> list[tuple[int, int]]:
    """(d_out, d_in) of each layer of the memory of one head."""
    hidden = [config.head_dim * config.memory.expansion] * (config.memory.depth - 1)
    return list(zip([*hidden, config.head_dim], [config.head_dim, *hidden], strict=True))


def _memory_weights(config: ModelConfig) -> int:
    return sum(d_out * d_in for d_out, d_in in _widths(config))


def _attention_parameters(config: ModelConfig) -> int:
    return 4 * config.dim**2


def _memory_parameters(config: ModelConfig) -> int:
    memory, dim = config.memory, config.dim
    convolution = 3 * dim * config.conv_width if config.conv_width > 1 else 0
    kinds = 1 + memory.momentum + memory.forgetting
    gates = kinds * config.heads * (memory.depth if memory.gates_per_layer else 1) * (dim + 1)
    initial = config.heads * _memory_weights(config)
    return 5 * dim**2 + convolution + gates + initial + config.head_dim


def _lmm_parameters(config: ModelConfig) -> int:
    return config.persistent_tokens * config.dim + _memory_parameters(config)


def _with_attention(norms: int, config: ModelConfig) -> int:
    return _lmm_parameters(config) + _attention_parameters(config) + norms * config.dim


_MIXER_PARAMETERS: dict[str, Callable[[ModelConfig], int]] = {
    "transformer": _attention_parameters,
    "lmm": _lmm_parameters,
    "mac": lambda config: _with_attention(3, config),
    "mag": lambda config: _with_attention(2, config),
    "mal": lambda config: _with_attention(1, config),
}


def _squares(length: int, size: int) -> int:
    """Pairs of tokens inside the same part, for parts of `size` and a shorter last one."""
    return length // size * size**2 + (length % size) ** 2


def _triangles(length: int, size: int) -> int:
    """Pairs of different tokens inside the same part: what a column of a triangular system costs to solve."""
    return (_squares(length, size) - length) // 2


def _projection(config: ModelConfig) -> int:
    """Multiply-adds a token of q, k or v: a matrix and a short convolution."""
    return config.dim**2 + (config.dim * config.conv_width if config.conv_width > 1 else 0)


def _memory_products(config: ModelConfig, length: int, batch: int) -> int:
    """Multiply-adds of projecting, writing and reading `length` tokens."""
    memory, dim = config.memory, config.dim
    kinds = (1 + memory.momentum + memory.forgetting) * (memory.depth if memory.gates_per_layer else 1)
    around = 3 * _projection(config) + kinds * config.heads * dim + 2 * dim**2
    sizes = _widths(config)
    anchored = 6 * _memory_weights(config) - sizes[0][0] * sizes[0][1]
    if memory.depth == 1 and memory.chunk_size == 1 and not memory.residual:
        anchored += _memory_weights(config)  # keys meet the momentum too
        inside = (3 * _squares(length, LINEAR_BLOCK) + _triangles(length, LINEAR_BLOCK)) * config.head_dim
    else:
        inside = _squares(length, memory.chunk_size) * sum(d_out + d_in for d_out, d_in in sizes)
    return batch * (length * (around + config.heads * anchored) + config.heads * inside)


def _begin_products(config: ModelConfig) -> int:
    """Writing the persistent tokens, once for the whole batch."""
    return _memory_products(config, config.persistent_tokens, 1)


def _lmm_products(config: ModelConfig, length: int, batch: int) -> int:
    return _begin_products(config) + _memory_products(config, length, batch)


def _transformer_products(config: ModelConfig, length: int, batch: int) -> int:
    return batch * length * (4 * config.dim**2 + 2 * length * config.dim)


def _window_products(config: ModelConfig, length: int, batch: int) -> int:
    """Blocks of queries over two blocks of keys and the persistent tokens, with projections."""
    size, dim, persistent = min(config.window, length), config.dim, config.persistent_tokens
    rows = -(-length // size) * size
    return batch * (length * 4 * dim**2 + rows * (2 * size + persistent) * 2 * dim) + persistent * 2 * dim**2


def _parallel_products(config: ModelConfig, length: int, batch: int) -> int:
    return _lmm_products(config, length, batch) + _window_products(config, length, batch)


def _mac_products(config: ModelConfig, length: int, batch: int) -> int:
    dim, persistent = config.dim, config.persistent_tokens
    recall = _projection(config) + config.heads * _memory_weights(config) + 2 * dim**2
    attention = 6 * dim**2 + 2 * persistent * dim
    pairs = _squares(length, config.segment) * 4 * dim
    shared = persistent * 2 * dim**2
    return batch * (length * (recall + attention) + pairs) + shared + _memory_products(config, length, batch)


_MIXER_PRODUCTS = {
    "transformer": _transformer_products,
    "lmm": _lmm_products,
    "mac": _mac_products,
    "mag": _parallel_products,
    "mal": _parallel_products,
}
