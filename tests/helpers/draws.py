"""Random numbers that are new in every session, and the same again under the seed that a failing test prints."""

from __future__ import annotations

import os
import random
import zlib

import numpy as np


def generator() -> np.random.Generator:
    """Return NumPy's generator for the running test."""
    return np.random.default_rng(_seed())


def python_random() -> random.Random:
    """Return Python's generator for the running test."""
    return random.Random(_seed())


def _seed() -> int:
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]  # without the phase: setup and call draw alike
    return int(os.environ["TITANS_TEST_SEED"]) ^ zlib.crc32(test.encode())
