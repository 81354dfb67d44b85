"""Named configurations: the Titans paper's two editions, other implementations, and the paper's four sizes."""

from __future__ import annotations

from typing import Any

# Neither edition gives initial gates, so both presets leave `theta_scale`, `eta_bias` and `alpha_bias` at the defaults
# of this project. The arXiv v1 gives no activation and no expansion either. Neither edition damps theta.

#: Defaults of the NeurIPS 2025 camera-ready for all of its variants.
NEURIPS = {
    "segment_len": 512,
    "window": 2048,
    "persistent_tokens": 128,
    "conv_size": 4,
    "attention_conv_size": 4,
    "memory": {
        "depth": 2, "expansion": 4, "chunk_size": 16, "residual": True, "gates_per_layer": True,
        "gate_channels": "alpha", "theta_damping": False,
    },
    "mac": {"long_term_tokens": 256, "positions": "psh"},
}  # fmt: skip

#: The Omega rule by gradient descent. ATLAS was read in notes: the window, the degree and the form are ours.
OMEGANET: dict[str, Any] = {
    "variant": "lmm",
    "memory": {
        "depth": 2, "expansion": 4, "chunk_size": 16, "residual": True, "theta_damping": False, "window": 16,
        "feature_degree": 2,
    },
}  # fmt: skip

#: Values of a model's configuration, section by section. What a preset does not name stays at its default.
PRESETS: dict[str, dict[str, Any]] = {
    # The arXiv v1: a plain MLP, scalar gates for each head, the loss of eq. 12. It names no chunk, segment or window.
    "paper-v1": {
        "memory": {"residual": False, "gates_per_layer": False, "gate_channels": "none", "theta_damping": False},
        "mac": {"positions": "phs"},
    },
    "paper-neurips": NEURIPS,
    # titans-pytorch 0.5.5 with batch_size = chunk_size = 64: one update for each chunk, and a read that lags up to the
    # chunk's last token. theta is at most max_lr = 1 = 2 theta_scale / chunk_size, and all gates start near 1/2. With
    # one head there is no output gate. tests/peers compares the layer with its NeuralMemory; two norms before it are
    # one here, the block's. Its MAC adds what was read to the stream that attention sees. The nearest reading here is
    # to write and read the segment before attention.
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
    # arXiv 2407.04620 and its code, ttt-lm-pytorch, with the Transformer backbone: no convolution, no output gate, no
    # momentum, no forgetting; gradients at the start of the chunk, reads after the token's own write. The step size is
    # eta_base sigmoid(w x) over the chunk's tokens and the head's width, with eta_base 1 and 0.1. This project's
    # keys of length 1 replace the division by the width. Missing: rotary positions in q and k, biases, and steps that
    # shrink within the chunk.
    "ttt-linear": {
        "variant": "lmm", "persistent_tokens": 0, "conv_size": 1, "qkv_activation": "none",
        "memory": {
            "depth": 1, "chunk_size": 16, "momentum": False, "forgetting": False, "loss": "half", "gain": "learned",
            "gates_per_layer": False, "theta_scale": 0.5, "output_gate": "none", "initial_std": 0.02,
        },
    },
    "ttt-mlp": {
        "variant": "lmm", "persistent_tokens": 0, "conv_size": 1, "qkv_activation": "none",
        "memory": {
            "depth": 2, "expansion": 4, "chunk_size": 16, "momentum": False, "forgetting": False, "loss": "half",
            "gain": "learned", "gates_per_layer": False, "theta_scale": 0.05, "output_gate": "none",
            "initial_std": 0.02,
        },
    },
    # The Omega rule and Muon of ATLAS (arXiv 2505.23735). docs/models.md has the source of each field.
    "omeganet": OMEGANET,
    "atlas": {**OMEGANET, "memory": {**OMEGANET["memory"], "inner_optimizer": "muon", "update_every": 16}},
    # Blocks, width and heads of the models that the NeurIPS 2025 camera-ready calls by these sizes; its tokenizer has
    # 32,000 tokens. The names are the paper's, not counts: with paper-neurips, mac has 220M, 668M, 1446M and 1959M
    # parameters, lmm 189M, 561M, 1210M and 1648M, transformer 141M, 393M, 834M and 1113M.
    "170M": {"vocab_size": 32_000, "n_layers": 12, "dim": 768, "n_heads": 16},
    "340M": {"vocab_size": 32_000, "n_layers": 24, "dim": 1024, "n_heads": 16},
    "760M": {"vocab_size": 32_000, "n_layers": 24, "dim": 1536, "n_heads": 16},
    "1.3B": {"vocab_size": 32_000, "n_layers": 18, "dim": 2048, "n_heads": 8},
}  # fmt: skip
