"""The long-term memory alone (LMM), with the keys and costs of the memory for mac, mag, mal and ttt, too.

Counts of products are multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from titans.mixers.counts import over_chunks, triangles
from titans.mixers.spec import MixerSpec, Values
from titans.models.config import MemoryConfig, ModelConfig

#: The keys that every mixer with the memory reads.
READS = frozenset({"n_heads", "memory", "persistent_tokens", "conv_size", "qkv_activation", "qk_l2_norm"})
NEWTON_SCHULZ = 5  # steps of Muon's iteration, as in titans/ops/neural_memory/muon.py
LINEAR_BLOCK = 64  # tokens of a block of the linear recurrence, as in titans/ops/neural_memory/linear.py with torch


def lmm_parameters(config: ModelConfig) -> int:
    """Return the parameters of the mixer: persistent tokens, projections, gates, norm and learned initial weights."""
    memory, dim = config.memory, config.dim
    gates = config.n_heads * _gates(config) * (dim + 1)
    initial = config.n_heads * memory_weights(config) if memory.initial == "learned" else 0
    norm = config.head_dim if memory.read_norm else 0
    features = config.n_heads * memory.feature_degree if memory.feature_degree > 1 else 0
    inputs = 3 * projection(config) + features
    return config.persistent_tokens * dim + inputs + dim**2 + output_gate(config) + gates + initial + norm


def lmm_products(config: ModelConfig, length: int, batch: int) -> int:
    """Return the multiply-adds of a forward pass, which begins by writing the persistent tokens."""
    return persistent_products(config) + memory_products(config, length, batch)


def persistent_products(config: ModelConfig) -> int:
    """Return the multiply-adds of writing the persistent tokens, once for the whole batch."""
    tokens = config.persistent_tokens
    return tokens * _around(config) + config.n_heads * _operator(config, tokens)


def memory_products(config: ModelConfig, length: int, batch: int) -> int:
    """Return the multiply-adds of projecting, writing and reading `length` tokens."""
    begun = (
        length % config.memory.chunk_size % config.memory.update_every
    )  # tokens of an incomplete group, which are a call of their own
    return batch * (length * _around(config) + config.n_heads * _operator(config, length, begun))


def _around(config: ModelConfig) -> int:
    """Return the multiply-adds of the projections and gates of one token."""
    return 3 * projection(config) + _gates(config) * config.n_heads * config.dim + output_gate(config) + config.dim**2


def projection(config: ModelConfig) -> int:
    """Return the multiply-adds of q, k or v for one token, which are also their parameters: matrix and convolution."""
    return config.dim**2 + (config.dim * config.conv_size if config.conv_size > 1 else 0)


def output_gate(config: ModelConfig) -> int:
    """Return the multiply-adds of the output gate for one token, which are also its parameters."""
    return config.dim * {"channel": config.dim, "head": config.n_heads, "none": 0}[config.memory.output_gate]


def recall(config: ModelConfig) -> int:
    """Return the multiply-adds of reading the memory for one token without writing, its query included."""
    matrices = sum(d_out * d_in for d_out, d_in in widths(config))
    return projection(config) + config.n_heads * matrices + output_gate(config) + config.dim**2


def memory_state(config: ModelConfig) -> int:
    """Return the numbers in a stream.

    These are the weights, their momentum, the weights of the last chunk, the tokens that a window reaches back to, and
    the tails of the convolutions.
    """
    memory = config.memory
    copies = 1 + memory.momentum + (memory.read == "previous")
    recent = (memory.window - 1) * (2 * config.head_dim + (memory.objective == "huber"))
    return config.n_heads * (copies * memory_weights(config) + recent) + 3 * (config.conv_size - 1) * config.dim


def widths(config: ModelConfig) -> list[tuple[int, int]]:
    """Return (d_out, d_in) of each matrix of one head's memory."""
    hidden = [config.head_dim * config.memory.expansion] * (config.memory.depth - 1)
    return list(zip([*hidden, config.head_dim], [config.head_dim, *hidden], strict=True))


def memory_weights(config: ModelConfig) -> int:
    """Return the fast weights of one head."""
    gain = config.head_dim if config.memory.gain != "none" else 0
    return sum(d_out * d_in for d_out, d_in in widths(config)) + gain


def _gates(config: ModelConfig) -> int:
    """Return the gates of one token and head."""
    memory = config.memory
    inputs = [d_in for _, d_in in widths(config)] + [1] * (memory.gain != "none")
    inputs = [inputs[layer] for layer in memory.written_layers]
    per_layer = memory.gates_per_layer or memory.gate_channels != "none"
    shared = len(inputs) if per_layer else 1
    eta = sum(inputs) if memory.gate_channels == "all" else shared
    alpha = sum(inputs) if memory.gate_channels != "none" else shared
    window = memory.window if memory.window > 1 else 0
    return shared + eta * memory.momentum + alpha * memory.forgetting + window + (memory.objective == "huber")


def _operator(config: ModelConfig, length: int, begun: int = 0) -> int:
    """Return the multiply-adds of one head for writing and reading `length` tokens, the last `begun` by themselves."""
    memory, dim, halo = config.memory, config.head_dim, config.memory.window - 1
    if memory.inner_optimizer == "muon":
        return _muon_operator(config, length - begun) + _muon_operator(config, begun)
    linear = _is_linear_recurrence(memory)
    size = LINEAR_BLOCK if linear else memory.chunk_size

    def over(cost: Callable[[int], int]) -> int:
        return over_chunks(length - begun, size, cost) + over_chunks(begun, size, cost)

    pairs = over(lambda tokens: tokens * (tokens + halo))
    written_tokens = over(lambda tokens: tokens + halo)
    total = pairs * dim if memory.gain == "fast" and memory.read == "token" else 0
    if linear:  # products of keys with keys, products with the momentum, and the triangular system
        total += pairs * dim + length * dim**2 + triangles(length, size) * dim
    by_channel = _has_channels(memory)
    scores = memory.window * over(_channel_pairs) if by_channel else pairs
    for layer, (d_out, d_in) in enumerate(widths(config)):
        written = layer in memory.written_layers
        token_read = written and memory.read == "token"
        writes = (1 if layer == 0 else 2) + (2 if written else 0)
        total += (written_tokens * writes + length * (2 if token_read else 1)) * d_out * d_in
        if token_read:
            total += pairs * d_out + scores * d_in
    if halo:  # the masks, and the shares of the writes in weights and momentum, of each set of gates
        masks = over(lambda tokens: tokens**2 * (tokens + halo))
        total += sum(2 * pairs * channels + (masks if channels == 1 else 0) for channels in _sets(config))
    return total


def _muon_operator(config: ModelConfig, length: int) -> int:
    """Return the multiply-adds of one head for writing and reading `length` tokens by Muon."""
    memory, halo, every = config.memory, config.memory.window - 1, config.memory.update_every

    def over(cost: Callable[[int], int]) -> int:
        return over_chunks(length, memory.chunk_size, cost)

    written_tokens, moves = over(lambda tokens: tokens + halo), over(lambda tokens: tokens // every)
    groups = over(lambda tokens: -(-tokens // every))
    reads = over(lambda tokens: (tokens // every + 1) * every) if memory.read == "token" else length
    total = groups * every * (every + halo) * len(_sets(config)) if halo else 0
    for layer, (d_out, d_in) in enumerate(widths(config)):
        total += (written_tokens * (1 if layer == 0 else 2) + reads) * d_out * d_in
        if layer in memory.written_layers:
            least, most = sorted((d_out, d_in))
            total += groups * (every + halo) * d_out * d_in + moves * NEWTON_SCHULZ * least**2 * (2 * most + least)
    return total


def _channel_pairs(tokens: int) -> int:
    """Return the pairs of tokens of a chunk where scores are built by doubling blocks.

    Such scores cost two products for each pair below the diagonal, and none on the diagonal.
    """
    padded = 1 << (tokens - 1).bit_length()
    return padded * (padded - 1)


def _has_channels(memory: MemoryConfig) -> bool:
    """Return whether some gate that is on has a value for each channel."""
    gated = {"none": False, "alpha": memory.forgetting, "all": memory.forgetting or memory.momentum}
    return gated[memory.gate_channels]


def _sets(config: ModelConfig) -> list[int]:
    """Return the channels of each set of gates, of which layers may share one."""
    memory = config.memory
    if not (memory.gates_per_layer or memory.gate_channels != "none"):
        return [1]
    by_channel = _has_channels(memory)
    inputs = [d_in if by_channel else 1 for _, d_in in widths(config)] + [1]
    return [inputs[layer] for layer in memory.written_layers]


def _is_linear_recurrence(memory: MemoryConfig) -> bool:
    """Return whether the memory is a linear one at chunk size 1, which has a form of its own."""
    linear = memory.depth == 1 and memory.chunk_size == 1 and not (memory.residual or memory.reset_momentum)
    linear = linear and memory.read == "token" and memory.gate_channels == "none"
    return linear and (memory.objective, memory.window, memory.inner_optimizer) == ("l2", 1, "gd")


def torch_only(config: ModelConfig) -> bool:
    """Return whether the memory has a form that no fused kernel of `neural_memory` computes: see its `choose_scan`."""
    memory = config.memory
    by_channel = _in_one_spelling(config)["memory.gate_channels"] != "none"
    some = len(memory.written_layers) < memory.layers
    rare = memory.read != "token" or memory.gain != "none" or memory.objective != "l2" or memory.window > 1
    rare = rare or memory.inner_optimizer != "gd"
    return rare or by_channel or some or _is_linear_recurrence(memory)


def writes_persistent(config: ModelConfig, usual: bool) -> bool:
    """Return whether the persistent tokens are written to the memory; `usual` is the mixer's default."""
    return usual if config.persistent_written is None else config.persistent_written


def canonical(config: ModelConfig, values: Values) -> Values:
    """Return the values that a mixer reads of the memory in one spelling, without those that make no difference."""
    memory = config.memory
    idle = {f"memory.{name}" for name in _idle(memory)}
    return {key: value for key, value in {**values, **_in_one_spelling(config)}.items() if key not in idle}


def canonical_persistent(config: ModelConfig, values: Values, usual: bool) -> Values:
    """Return the same for a mixer that may write its persistent tokens; `usual` replaces null."""
    values = canonical(config, values)
    if not config.persistent_tokens or writes_persistent(config, usual) == usual:
        return {**values, "persistent_written": None}
    return values


def _in_one_spelling(config: ModelConfig) -> dict[str, Any]:
    """Return the values of the memory that can be written in two ways."""
    memory, channels = config.memory, config.memory.gate_channels
    if channels == "all" and not memory.momentum:
        channels = "alpha"
    if channels == "alpha" and not memory.forgetting:
        channels = "none"
    span, evaluation = memory.gate_span, memory.eval_chunk_size
    doubled = memory.step_ceiling(config.head_dim) == 2 * memory.step_scale(config.head_dim)
    return {
        "memory.theta_scale": memory.step_scale(config.head_dim),
        "memory.theta_ceiling": None if doubled else memory.theta_ceiling,
        "memory.gate_channels": channels,
        "memory.gates_per_layer": memory.gates_per_layer or memory.gate_channels != "none",
        "memory.gate_span": "token" if span == "group" and memory.update_every == 1 else span,
        "memory.eval_chunk_size": None if evaluation == memory.chunk_size else evaluation,
    }


def _idle(memory: MemoryConfig) -> set[str]:
    """Return the fields that make no difference, given the others."""
    linear = {"expansion", "activation", "written"} if memory.depth == 1 else set()
    alone = {"gates_per_layer"} if len(memory.written_layers) == 1 else set()
    no_momentum = set() if memory.momentum else {"eta_bias", "reset_momentum", "theta_damping"}
    no_forgetting = set() if memory.forgetting else {"alpha_bias"}
    at_zero = {"initial_std"} if memory.initial == "zero" else set()
    no_power = set() if memory.objective == "lp" else {"objective_power"}
    no_threshold = set() if memory.objective == "huber" else {"huber_threshold"}
    no_gates = set() if memory.momentum or memory.forgetting else {"gate_span"}
    no_window = set() if memory.window > 1 else {"gamma_bias"}
    no_damping = {"theta_damping"} if memory.inner_optimizer == "muon" else set()
    unused = no_damping | no_momentum | no_forgetting | no_gates | no_power | no_threshold | no_window
    return linear | alone | at_zero | unused


MIXER = MixerSpec(
    name="lmm",
    family="Titans",
    summary="the long-term memory alone, written and read token by token",
    source="Titans (arXiv 2501.00663), section 4.4",
    layer="titans.mixers.lmm.layer:LongTermMemory",
    state="titans.mixers.lmm.layer:MemoryStream",
    torch_only=torch_only,
    reads=READS,
    head_multiple=1,
    canonical=canonical,
    reference="titans.mixers.lmm.layer:write_token_by_token",
    parameters=lmm_parameters,
    multiply_adds=lmm_products,
    state_size=lambda config, length: memory_state(config),
    golden_loss=6.614280,
)
