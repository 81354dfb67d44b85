"""What holds for all tests: one thread each, and random numbers that are fresh every time and can be had again."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import pytest

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # several test processes share the cores
for _name in ("TITANS_LAB_STORE", "NO_COLOR", "FORCE_COLOR"):
    os.environ.pop(_name, None)  # the user's must not decide what is tested

#: The places on devices that sweeps share, and what is remembered of data: not the user's, and not with other tests.
for _name in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
    os.environ[_name] = tempfile.mkdtemp(prefix="titans-lab-tests-")
    atexit.register(shutil.rmtree, os.environ[_name], ignore_errors=True)

#: Of the whole session: the processes of pytest-xdist inherit it from the one that starts them.
SEED = int(os.environ.setdefault("TITANS_TEST_SEED", str(secrets.randbits(32))))

SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text().split())


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis draw by the same seed, unless `--hypothesis-seed` gives it one."""
    if getattr(config.option, "hypothesis_seed", SEED) is None:  # not there without Hypothesis
        config.option.hypothesis_seed = str(SEED)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `slow.txt` lists, so that `-m "not slow"` leaves them out."""
    for item in items:
        if item.nodeid.partition("[")[0] in SLOW:
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _seed(request: pytest.FixtureRequest) -> None:
    """Seed torch, where a test has imported it; pytest shows what is printed here with a test that fails."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED ^ zlib.crc32(request.node.name.encode()))
    print(f"to draw the same random numbers again: TITANS_TEST_SEED={SEED}")
