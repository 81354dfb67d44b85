"""Named configurations: the papers' own, other people's semantics as switches, and the four sizes. Without torch."""

from __future__ import annotations

from typing import Any

# The papers give no initial gates: the step size, momentum and forgetting at the start stay at our defaults in the two
# after them (`theta_scale`, `eta_bias`, `alpha_bias`), and V1's activation and expansion too. They do not damp theta.

#: N25's defaults for all of its variants.
NEURIPS = {
    "segment_len": 512,
    "window": 2048,
    "persistent_tokens": 128,
    "conv_size": 4,
    "memory": {
        "depth": 2, "expansion": 4, "chunk_size": 16, "residual": True, "gates_per_layer": True,
        "gate_channels": "alpha", "theta_damping": False,
    },
    "mac": {"long_term_tokens": 256, "positions": "psh"},
}  # fmt: skip

#: Values of a model's configuration, section by section; what one does not name stays at its default.
PRESETS: dict[str, dict[str, Any]] = {
    # V1: a plain MLP, scalar gates for each head, eq. 12's loss; it names no chunk, segment or window.
    "paper-v1": {
        "memory": {"residual": False, "gates_per_layer": False, "gate_channels": "none", "theta_damping": False},
        "mac": {"positions": "phs"},
    },
    "paper-neurips": NEURIPS,
    # titans-pytorch 0.5.5 with batch_size = chunk_size = 64: one update a chunk, a read that lags up to its last token.
    # theta is at most max_lr = 1 = 2 theta_scale / chunk_size, and all gates begin near 1/2. With one head it has no
    # output gate. tests/peers holds the layer equal to its NeuralMemory, but for two pre-norms: here a block has one.
    # Its MAC adds what is read to the stream that attention sees: nearest is to write and read the segment first.
    "titans-pytorch": {
        "conv_size": 1,
        "qkv_activation": "none",
        "qk_l2_norm": False,
        "memory": {
            "depth": 2, "expansion": 4, "chunk_size": 64, "update_every": 64, "gate_span": "group", "loss": "mean",
            "residual": True, "gain": "fast", "gates_per_layer": False, "theta_scale": 32.0, "theta_damping": False,
            "eta_bias": 0.0, "alpha_bias": 0.0, "read_norm": False, "output_gate": "head",
        },
        "mac": {"write": "input", "order": "write_first"},
    },
    # arXiv 2407.04620 and its code, ttt-lm-pytorch, with the Transformer backbone: no convolution, no gate on the
    # output; the state of the chunk's tokens so far, at the chunk's anchor; no momentum, no forgetting. Its step is
    # eta_base sigmoid(w x), eta_base 1 and 0.1, over the chunk's tokens and the head's width; unit keys, ours, stand
    # for the latter. Not carried over: rotary positions in q and k, biases, steps that shrink within the chunk.
    "ttt-linear": {
        "variant": "lmm", "persistent_tokens": 0, "conv_size": 1, "qkv_activation": "none",
        "memory": {
            "depth": 1, "chunk_size": 16, "momentum": False, "forgetting": False, "loss": "half", "gain": "learned",
            "gates_per_layer": False, "theta_scale": 0.5, "output_gate": "none",
        },
    },
    "ttt-mlp": {
        "variant": "lmm", "persistent_tokens": 0, "conv_size": 1, "qkv_activation": "none",
        "memory": {
            "depth": 2, "expansion": 4, "chunk_size": 16, "momentum": False, "forgetting": False, "loss": "half",
            "gain": "learned", "gates_per_layer": False, "theta_scale": 0.05, "output_gate": "none",
        },
    },
    # N25, table of models; its tokenizer has 32,000 tokens.
    "170M": {"vocab_size": 32_000, "n_layers": 12, "dim": 768, "n_heads": 16},
    "340M": {"vocab_size": 32_000, "n_layers": 24, "dim": 1024, "n_heads": 16},
    "760M": {"vocab_size": 32_000, "n_layers": 24, "dim": 1536, "n_heads": 16},
    "1.3B": {"vocab_size": 32_000, "n_layers": 18, "dim": 2048, "n_heads": 8},
}  # fmt: skip
