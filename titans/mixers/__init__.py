"""Sequence mixers. Each folder is a mixer; the files are shared by several mixers.

A mixer maps `[batch, time, dim]` to the same shape. Each output depends only on its own and earlier tokens. Its folder
holds its specification in `__init__.py` (a `MixerSpec`, without torch) and its layer in `layer.py`. `registry` finds
the folders and `register` adds mixers of other packages. Costs, models, generation, documentation and tests read
specifications.
"""

from titans.mixers.registry import register, spec, variants
from titans.mixers.spec import HybridSpec, MixerSpec

__all__ = ["HybridSpec", "MixerSpec", "register", "spec", "variants"]
