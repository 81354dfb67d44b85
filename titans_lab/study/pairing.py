"""Which runs see the same batches."""

from __future__ import annotations

from titans_lab.study.fields import LEAVES
from titans_lab.study.identity import facts, read_values
from titans_lab.study.study import Run

#: Sections and keys that decide the batches of a seed, with the content of the data.
DECIDE = ("data.", "task.", "train.seq_len", "train.batch_size")


def batches(run: Run) -> tuple[object, ...]:
    """Equal for runs that see the same batch at each step if their seeds are equal, as far as both train."""
    known = facts(LEAVES, read_values(run.config))
    return run.data_hash, *(item for item in known.items() if item[0].startswith(DECIDE))
