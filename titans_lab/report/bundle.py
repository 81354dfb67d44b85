"""The part of plotly.js that draws the figures. It ships with this package: vendor/README.md says where it is from."""

from __future__ import annotations

from pathlib import Path

PLOTLY_VERSION = "4.1.1"
PLOTLY_SHA256 = "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a"
#: The place of the script beside the folder of a page that does not hold it, as the page refers to it.
SHARED = "../plotly-cartesian.min.js"
BUNDLE = Path(__file__).parent / "vendor" / "plotly-cartesian.min.js"


def plotly_js() -> str:
    """Return the script, which draws scatter plots, bars and heat maps."""
    return BUNDLE.read_text(encoding="utf-8")
