"""Gated DeltaNet-H2 (arXiv 2412.06464): Mamba-2, Gated DeltaNet and sliding-window attention in turn."""

from __future__ import annotations

from titans.mixers.spec import HybridSpec

HYBRID = HybridSpec(
    name="gated_deltanet_h2",
    summary="`mamba2`, `gated_deltanet` and `window` in turn",
    source="Gated DeltaNet-H2 (arXiv 2412.06464)",
    pattern=("mamba2", "gated_deltanet", "window"),
    golden_loss=6.224347,
)
