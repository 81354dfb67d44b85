"""Public data sets beside the repository, which is not where they are kept: `../shared/data`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "data"


def shared(name: str) -> str:
    """Return the path of a file; skips the test where it is not there, or fails it under CI=true."""
    path = FOLDER / name
    if not path.exists():
        missing = f"{path} is not there: see the SOURCE.txt of that data set"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return str(path)
