"""Measure the quality of a classification."""

from __future__ import annotations

import numpy as np


def matthews(found: np.ndarray, true: np.ndarray) -> float:
    """Return Matthews' correlation coefficient, of any number of classes (R_K of Gorodkin 2004).

    It is 1 where all are right, and 0 where the found classes are independent of the true ones or either are all equal.
    """
    classes = int(max(found.max(), true.max())) + 1
    f, t = np.eye(classes)[found], np.eye(classes)[true]
    f, t = f - f.mean(0), t - t.mean(0)
    spread = float(np.sqrt((f * f).sum() * (t * t).sum()))
    return float((f * t).sum()) / spread if spread else 0.0
