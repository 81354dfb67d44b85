"""titans-lab: ablation and scaling studies of test-time memory, from a YAML file to a report.

`import titans_lab as lab` is the interface for scripts and notebooks: docs/python.md explains the names in `__all__`.
They are loaded at their first use, so the import itself needs neither torch nor any other library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from titans_lab.version import __version__

if TYPE_CHECKING:
    from titans_lab.api import OpenStore, Options, Study, SweepOutcome, UserError, allow_plugins, load_study, open_store

__all__ = [
    "OpenStore",
    "Options",
    "Study",
    "SweepOutcome",
    "UserError",
    "__version__",
    "allow_plugins",
    "load_study",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'titans_lab' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module("titans_lab.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
