"""Other people's code: there where the extra `peers` is installed, and only there."""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

#: Set by `.ci/run` in the environment that is made for these tests, where none of them may be skipped.
REQUIRED = "TITANS_PEERS"


def peer(package: str) -> ModuleType:
    """Import a package; skip the module that asks for it where it is not installed."""
    _found(package)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is its own affair
        return importlib.import_module(package)


def peer_file(package: str, path: str) -> dict[str, Any]:
    """Return the names that one file of a package defines, because the whole package may not be importable."""
    return runpy.run_path(str(_found(package) / path))


def _found(package: str) -> Path:
    """Return the package's folder."""
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    reason = f"{package} is not installed; it comes with the extra `peers`: pip install -e '.[peers]'"
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)
