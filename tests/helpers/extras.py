"""Packages of the extra `eval` and files of ../shared/data: tests that need them are skipped where they are missing."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

#: Set by `.ci/run` in the environment that is made for these tests, where none of them may be skipped.
REQUIRED = "TITANS_EVAL"
DATA = Path(__file__).parents[3] / "shared" / "data"


def extra(package: str) -> ModuleType:
    """Import a package; skip what asks for it where it is not installed."""
    if importlib.util.find_spec(package) is None:
        _missing(f"{package} is not installed; it comes with the extra `eval`: pip install -e '.[eval]'")
    return importlib.import_module(package)


def shared(name: str) -> Path:
    """Return a folder of the data that lies beside the checkout; skip what asks for it where there is none."""
    if not (DATA / name).is_dir():
        _missing(f"{DATA / name} is not there")
    return DATA / name


def _missing(reason: str) -> None:
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)
