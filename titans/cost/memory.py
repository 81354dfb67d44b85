"""The long-term memory, alone."""

from __future__ import annotations

from titans.cost.mixer import MixerCost, squares, triangles
from titans.models.config import ModelConfig

LINEAR_BLOCK = 64  # as in titans/ops/neural_memory/linear.py, which imports torch


def lmm_parameters(config: ModelConfig) -> int:
    """Of the mixer: the persistent tokens and the memory's own, its initial weights included where they are learned."""
    return config.persistent_tokens * config.dim + _memory_parameters(config)


def _memory_parameters(config: ModelConfig) -> int:
    memory, dim = config.memory, config.dim
    convolution = 3 * dim * config.conv_size if config.conv_size > 1 else 0
    gates = config.n_heads * _gates(config) * (dim + 1)
    initial = config.n_heads * memory_weights(config) if memory.initial == "learned" else 0
    norm = config.head_dim if memory.read_norm else 0
    return 4 * dim**2 + output_gate(config) + convolution + gates + initial + norm


def widths(config: ModelConfig) -> list[tuple[int, int]]:
    """(d_out, d_in) of each layer of the memory of one head."""
    hidden = [config.head_dim * config.memory.expansion] * (config.memory.depth - 1)
    return list(zip([*hidden, config.head_dim], [config.head_dim, *hidden], strict=True))


def memory_weights(config: ModelConfig) -> int:
    """Fast weights of one head."""
    gain = config.head_dim if config.memory.gain != "none" else 0
    return sum(d_out * d_in for d_out, d_in in widths(config)) + gain


def _gates(config: ModelConfig) -> int:
    """Gates a token and head."""
    memory = config.memory
    inputs = [d_in for _, d_in in widths(config)] + [1] * (memory.gain != "none")
    inputs = [inputs[layer] for layer in memory.written_layers]
    per_layer = memory.gates_per_layer or memory.gate_channels != "none"
    shared = len(inputs) if per_layer else 1
    eta = sum(inputs) if memory.gate_channels == "all" else shared
    alpha = sum(inputs) if memory.gate_channels != "none" else shared
    return shared + eta * memory.momentum + alpha * memory.forgetting


def output_gate(config: ModelConfig) -> int:
    """Multiply-adds a token of the gate on what was read, and its parameters."""
    return config.dim * {"channel": config.dim, "head": config.n_heads, "none": 0}[config.memory.output_gate]


def lmm_products(config: ModelConfig, length: int, batch: int) -> int:
    """Multiply-adds of a forward pass over a batch: the persistent tokens are written first, then the sequences."""
    return begin_products(config) + memory_products(config, length, batch)


def begin_products(config: ModelConfig) -> int:
    """Writing the persistent tokens, once for the whole batch."""
    return memory_products(config, config.persistent_tokens, 1) if config.writes_persistent else 0


def memory_products(config: ModelConfig, length: int, batch: int) -> int:
    """Multiply-adds of projecting, writing and reading `length` tokens."""
    around = 3 * projection(config) + _gates(config) * config.n_heads * config.dim + output_gate(config) + config.dim**2
    return batch * (length * around + config.n_heads * _operator(config, length))


def projection(config: ModelConfig) -> int:
    """Multiply-adds a token of q, k or v: a matrix and a short convolution."""
    return config.dim**2 + (config.dim * config.conv_size if config.conv_size > 1 else 0)


def _operator(config: ModelConfig, length: int) -> int:
    """Multiply-adds of writing and reading `length` tokens, of one head."""
    memory, dim = config.memory, config.head_dim
    linear = memory.depth == 1 and memory.chunk_size == 1 and not (memory.residual or memory.reset_momentum)
    linear = linear and memory.read == "token" and memory.gate_channels == "none"
    size = LINEAR_BLOCK if linear else memory.chunk_size
    pairs = squares(length, size)
    total = pairs * dim if memory.gain == "fast" and memory.read == "token" else 0
    if linear:  # the products of keys with keys, one more with the momentum, and the triangular system
        total += pairs * dim + length * dim**2 + triangles(length, size) * dim
    per_channel = {"none": False, "alpha": memory.forgetting, "all": memory.forgetting or memory.momentum}
    channels = per_channel[memory.gate_channels]
    for layer, (d_out, d_in) in enumerate(widths(config)):
        written = layer in memory.written_layers
        token_read = written and memory.read == "token"
        products = (1 if layer == 0 else 2) + (2 if token_read else 1) + (2 if written else 0)
        total += length * products * d_out * d_in
        if token_read:
            total += pairs * d_out + (_channel_pairs(length, size) if channels else pairs) * d_in
    return total


def _channel_pairs(length: int, size: int) -> int:
    """The same where scores are built up by doubling: two products below the diagonal, none on it."""

    def of(part: int) -> int:
        padded = 1 << (part - 1).bit_length() if part else 0
        return padded * (padded - 1) if part else 0

    return length // size * of(size) + of(length % size)


def recall(config: ModelConfig) -> int:
    """Multiply-adds a token of reading the memory without a write, its query's projection included."""
    matrices = sum(d_out * d_in for d_out, d_in in widths(config))
    return projection(config) + config.n_heads * matrices + output_gate(config) + config.dim**2


def memory_state(config: ModelConfig) -> int:
    """Weights of all heads, now and where they are read late, their momentum, and the tails of the convolutions."""
    copies = 1 + config.memory.momentum + (config.memory.read == "previous")
    return copies * config.n_heads * memory_weights(config) + 3 * (config.conv_size - 1) * config.dim


LMM = MixerCost(lmm_parameters, lmm_products, lambda config, length: memory_state(config))
