"""Named configurations: the papers' own, other people's semantics as switches, and the four sizes. Without torch."""

from __future__ import annotations

from typing import Any

#: N25's defaults for all of its variants.
NEURIPS = {
    "segment": 512,
    "window": 2048,
    "persistent_tokens": 128,
    "conv_width": 4,
    "memory": {
        "depth": 2, "expansion": 4, "chunk_size": 16, "residual": True, "gates_per_layer": True,
        "gate_channels": "alpha",
    },
    "mac": {"long_term_tokens": 256, "positions": "psh"},
}  # fmt: skip

#: Values of a model's configuration, section by section; what one does not name stays at its default.
PRESETS: dict[str, dict[str, Any]] = {
    # V1: a plain MLP, scalar gates for each head, eq. 12's loss; it names no chunk, segment or window.
    "paper-v1": {
        "memory": {"residual": False, "gates_per_layer": False, "gate_channels": "none"}, "mac": {"positions": "phs"},
    },
    "paper-neurips": NEURIPS,
    # titans-pytorch 0.5.5 with batch_size = chunk: one update a chunk, a read that lags up to its last token.
    "titans-pytorch": {
        "conv_width": 1,
        "qkv_activation": "none",
        "unit_qk": False,
        "memory": {
            "depth": 2, "expansion": 4, "chunk_size": 64, "update_every": 64, "gate_span": "group", "loss": "mean",
            "residual": True, "gain": "fast", "gates_per_layer": False,
        },
        "mac": {"write": "input"},
    },
    # arXiv 2407.04620: the state of the chunk's tokens so far, at the chunk's anchor; no momentum, no forgetting.
    "ttt-linear": {
        "variant": "lmm", "persistent_tokens": 0,
        "memory": {
            "depth": 1, "chunk_size": 16, "momentum": False, "forgetting": False, "loss": "half", "gain": "learned",
            "gates_per_layer": False,
        },
    },
    "ttt-mlp": {
        "variant": "lmm", "persistent_tokens": 0,
        "memory": {
            "depth": 2, "expansion": 4, "chunk_size": 16, "momentum": False, "forgetting": False, "loss": "half",
            "gain": "learned", "gates_per_layer": False,
        },
    },
    # N25, table of models; its tokenizer has 32,000 tokens.
    "170M": {"vocab_size": 32_000, "blocks": 12, "dim": 768, "heads": 16},
    "340M": {"vocab_size": 32_000, "blocks": 24, "dim": 1024, "heads": 16},
    "760M": {"vocab_size": 32_000, "blocks": 24, "dim": 1536, "heads": 16},
    "1.3B": {"vocab_size": 32_000, "blocks": 18, "dim": 2048, "heads": 8},
}  # fmt: skip
