"""What two equal runs may differ in."""

from __future__ import annotations

from typing import Any

from titans_lab.store.logs import CHECK

CLOCKS = {"tokens_per_second", "utilisation", "step_seconds", "elapsed_seconds", "wall_seconds", "peak_memory_bytes"}


def without_clocks(row: dict[str, Any]) -> dict[str, Any]:
    """Return a logged line or a summary without times, and without the checksum of a line that has some."""
    return {name: value for name, value in row.items() if name not in CLOCKS | {CHECK}}
