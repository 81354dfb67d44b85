"""The parts of a task's data: training, validation and test. No example is in two of them."""

from __future__ import annotations

from typing import Literal, get_args

#: Training sees "train". Curves, pruning, searches and early stopping use "valid"; verdicts use "test".
Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
