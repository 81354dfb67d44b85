"""Samba (Ren et al., arXiv 2406.07522): Mamba and sliding-window attention in turn."""

from __future__ import annotations

from titans.mixers.spec import HybridSpec

HYBRID = HybridSpec(
    name="samba",
    summary="`mamba` and `window` in turn",
    source="Samba (arXiv 2406.07522)",
    pattern=("mamba", "window"),
    golden_loss=6.587494,
)
