"""Where in a study the value stands that a configuration, or the data, refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from titans_lab.study.fields import LEAVES
from titans_lab.study.settings import Setting

Layers = Sequence[Mapping[str, Setting]]  # settings by dotted key, the uppermost first


def blamed(fault: str, layers: Layers) -> str | None:
    """The place of the value that is to blame; None where nothing is set that could be.

    Args:
        fault: What is wrong, beginning with a dotted key and a colon; further keys that it names may be to blame too.
        layers: What is set.
    """
    for names in _suspects(fault):
        for layer in layers:
            for name in names:
                if name in layer:
                    return layer[name].place
    return None


def _suspects(fault: str) -> Iterator[list[str]]:
    """Keys, the likeliest first: those that are named, those of a task that is, those of the same section."""
    key, _, words = fault.partition(":")
    section = key.rpartition(".")[0]
    named = re.findall(r"[a-z_][a-z0-9_.]*[a-z0-9]", words)
    yield [key, *(full for word in named for full in (f"{section}.{word}", word))]
    yield [leaf for word in named for leaf in LEAVES if leaf.startswith(f"task.{word}.")]
    yield [leaf for leaf in LEAVES if leaf.startswith(f"{section}.")]


def names_a_key(message: str) -> bool:
    """Whether a message begins with a dotted key and a colon."""
    return message.partition(":")[0] in LEAVES
