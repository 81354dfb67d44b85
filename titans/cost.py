"""What a model costs, in closed form and without torch: parameters, FLOPs and the size of a stream's state.

FLOPs are those of the matrix products and convolutions as they are executed (a multiply-add is two); PAPER-level
estimates leave out what these include, such as the half of a causal mask that is computed and thrown away.
"""

from __future__ import annotations

from collections.abc import Callable

from titans.models.config import ModelConfig

FLOAT = 4  # bytes
LINEAR_BLOCK = 64  # as in titans/ops/neural_memory/linear.py, which imports torch


def parameters(config: ModelConfig) -> int:
    """Trainable numbers, embedding and output projection included."""
    mixer = _MIXER_PARAMETERS[config.variant](config)
    block = mixer + 2 * config.dim + 3 * config.dim * config.hidden
    tables = 1 if config.tied else 2
    return config.blocks * block + tables * config.vocab_size * config.dim + config.dim


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
    """Fast weights of one head."""
    gain = config.head_dim if config.memory.gain != "none" else 0
    return sum(d_out * d_in for d_out, d_in in _widths(config)) + gain


def _gates(config: ModelConfig) -> int:
    """Gates a token and head."""
    memory = config.memory
    inputs = [d_in for _, d_in in _widths(config)] + [1] * (memory.gain != "none")
    inputs = [inputs[layer] for layer in memory.written_layers]
    per_layer = memory.gates_per_layer or memory.gate_channels != "none"
    shared = len(inputs) if per_layer else 1
    eta = sum(inputs) if memory.gate_channels == "all" else shared
    alpha = sum(inputs) if memory.gate_channels != "none" else shared
    return shared + eta * memory.momentum + alpha * memory.forgetting


def _output_gate(config: ModelConfig) -> int:
    """Multiply-adds a token of the gate on what was read, and its parameters."""
    return config.dim * {"channel": config.dim, "head": config.heads, "none": 0}[config.memory.output_gate]


def _attention_parameters(config: ModelConfig) -> int:
    return 4 * config.dim**2


def _memory_parameters(config: ModelConfig) -> int:
    memory, dim = config.memory, config.dim
    convolution = 3 * dim * config.conv_width if config.conv_width > 1 else 0
    gates = config.heads * _gates(config) * (dim + 1)
    initial = config.heads * _memory_weights(config) if memory.initial == "learned" else 0
    norm = config.head_dim if memory.read_norm else 0
    return 4 * dim**2 + _output_gate(config) + convolution + gates + initial + norm


def _lmm_parameters(config: ModelConfig) -> int:
    return config.persistent_tokens * config.dim + _memory_parameters(config)


def _with_attention(config: ModelConfig, norms: int) -> int:
    return _lmm_parameters(config) + _attention_parameters(config) + norms * config.dim


def _product_norms(config: ModelConfig) -> int:
    return 2 if config.combine == "norm_sigmoid" else 0


def _mac_parameters(config: ModelConfig) -> int:
    return _with_attention(config, 1 + _product_norms(config)) + config.mac.long_term_tokens * config.dim


_MIXER_PARAMETERS: dict[str, Callable[[ModelConfig], int]] = {
    "transformer": _attention_parameters,
    "lmm": _lmm_parameters,
    "mac": _mac_parameters,
    "mag": lambda config: _with_attention(config, _product_norms(config)),
    "mal": lambda config: _with_attention(config, 1),
}


def _squares(length: int, size: int) -> int:
    """Pairs of tokens inside the same part, for parts of `size` and a shorter last one."""
    return length // size * size**2 + (length % size) ** 2


def _channel_pairs(length: int, size: int) -> int:
    """The same where scores are built up by doubling: two products below the diagonal, none on it."""

    def of(part: int) -> int:
        padded = 1 << (part - 1).bit_length() if part else 0
        return padded * (padded - 1) if part else 0

    return length // size * of(size) + of(length % size)


def _projection(config: ModelConfig) -> int:
    """Multiply-adds a token of q, k or v: a matrix and a short convolution."""
    return config.dim**2 + (config.dim * config.conv_width if config.conv_width > 1 else 0)


def _operator(config: ModelConfig, length: int) -> int:
    """Multiply-adds of writing and reading `length` tokens, of one head."""
    memory, dim = config.memory, config.head_dim
    linear = memory.depth == 1 and memory.chunk_size == 1 and not (memory.residual or memory.reset_momentum)
    linear = linear and memory.read == "token" and memory.gate_channels == "none"
    size = LINEAR_BLOCK if linear else memory.chunk_size
    pairs = _squares(length, size)
    total = pairs * dim if memory.gain == "fast" and memory.read == "token" else 0
    if linear:  # the products of keys with keys, one more with the momentum, and the triangular system
        total += pairs * dim + length * dim**2 + _triangles(length, size) * dim
    per_channel = {"none": False, "alpha": memory.forgetting, "all": memory.forgetting or memory.momentum}
    channels = per_channel[memory.gate_channels]
    for layer, (d_out, d_in) in enumerate(_widths(config)):
        written = layer in memory.written_layers
        token_read = written and memory.read == "token"
        products = (1 if layer == 0 else 2) + (2 if token_read else 1) + (2 if written else 0)
        total += length * products * d_out * d_in
        if token_read:
            total += pairs * d_out + (_channel_pairs(length, size) if channels else pairs) * d_in
    return total


def _triangles(length: int, size: int) -> int:
    """Pairs of different tokens inside the same part: what a column of a triangular system costs to solve."""
    return (_squares(length, size) - length) // 2


def _memory_products(config: ModelConfig, length: int, batch: int) -> int:
    """Multiply-adds of projecting, writing and reading `length` tokens."""
    around = 3 * _projection(config) + _gates(config) * config.heads * config.dim + _output_gate(config) + config.dim**2
    return batch * (length * around + config.heads * _operator(config, length))


def _begin_products(config: ModelConfig) -> int:
    """Writing the persistent tokens, once for the whole batch."""
    return _memory_products(config, config.persistent_tokens, 1) if config.writes_persistent else 0


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


def _recall(config: ModelConfig) -> int:
    """Multiply-adds a token of reading the memory without a write, its query's projection included."""
    matrices = sum(d_out * d_in for d_out, d_in in _widths(config))
    return _projection(config) + config.heads * matrices + _output_gate(config) + config.dim**2


def _mac_products(config: ModelConfig, length: int, batch: int) -> int:
    dim, seen_by_all = config.dim, config.persistent_tokens + config.mac.long_term_tokens
    attention = length * (6 * dim**2 + 2 * seen_by_all * dim) + _squares(length, config.segment) * 4 * dim
    segments = -(-length // config.segment)
    starts = 1 + length // config.segment if config.mac.reset else 1
    shared = config.persistent_tokens * 2 * dim**2
    total = batch * attention + shared + _memory_products(config, length, batch)
    total += batch * length * (_projection(config) if config.mac.order == "write_first" else _recall(config))
    if config.mac.long_term_tokens:
        total += segments * _long_term_products(config, batch)
    return total + _mac_reads(config, length, batch) + _begin_products(config) * starts


def _long_term_products(config: ModelConfig, batch: int) -> int:
    """Of one segment: the queries and their gate are the same for the whole batch, what they read is not."""
    dim, matrices = config.dim, sum(d_out * d_in for d_out, d_in in _widths(config))
    once, each = _projection(config) + _output_gate(config), config.heads * matrices + dim**2 + 2 * dim**2
    return config.mac.long_term_tokens * (once + batch * each)


def _mac_reads(config: ModelConfig, length: int, batch: int) -> int:
    """A second read of the output, where it is not read after its own write."""
    return 0 if config.mac.read == "own" or config.mac.order == "write_first" else batch * length * _recall(config)


_MIXER_PRODUCTS: dict[str, Callable[[ModelConfig, int, int], int]] = {
    "transformer": _transformer_products,
    "lmm": _lmm_products,
    "mac": _mac_products,
    "mag": _parallel_products,
    "mal": _parallel_products,
}
