"""Sequence mixers: a folder is a mixer, a file is what several of them share.

A mixer maps `[batch, time, dim]` to the same, each output a function of its past alone. Its folder holds its
specification in `__init__.py` (a `MixerSpec`, without torch) and its layer in `layer.py`. `registry` finds the folders
and `register` adds mixers of other packages. Costs, models, generation, documentation and tests read specifications.
"""

from titans.mixers.registry import register, spec, variants
from titans.mixers.spec import HybridSpec, MixerSpec

__all__ = ["HybridSpec", "MixerSpec", "register", "spec", "variants"]
