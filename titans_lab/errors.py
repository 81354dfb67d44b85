"""Errors that a user can fix, and suggestions for their messages."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

MOST_LISTED = 20  # the most choices in a message


class UserError(ValueError):
    """An error that a user can fix. Its message names the file, line or key and the remedy; the exit code is 2."""


def install(extra: str = "") -> str:
    """Return the command that installs this package with an extra. The package is on no package index."""
    return f"pip install -e '.[{extra}]' in the clone of titans-lab" if extra else "pip install -e . in its clone"


def nearest(key: str, valid: Collection[str]) -> str:
    """Return a suggestion for an unknown dotted key: a near key of its section, else the same name elsewhere."""
    parent, _, name = key.rpartition(".")
    siblings = {_name(other): other for other in valid if other.rpartition(".")[0] == parent}
    found = (
        [siblings[other] for other in near(name, siblings)]
        or [other for other in valid if _name(other) == name]
        or difflib.get_close_matches(key, valid, n=2, cutoff=0.75)
    )
    return f"did you mean {' or '.join(found)}?" if found else f"valid here: {listed(list(siblings or valid))}"


def near(name: str, names: Collection[str]) -> list[str]:
    """Return at most two names that are similar to `name`, the second only if it is nearly as similar as the first."""
    found = difflib.get_close_matches(name, names, n=2)
    nearness = [difflib.SequenceMatcher(None, other, name).ratio() for other in found]
    return [other for other, how in zip(found, nearness, strict=True) if how > 0.9 * nearness[0]]


def listed(words: Sequence[str]) -> str:
    """Return the words as a comma-separated list, which is cut after `MOST_LISTED`."""
    more = f", ... ({len(words)} in all)" if len(words) > MOST_LISTED else ""
    return ", ".join(words[:MOST_LISTED]) + more


def _name(key: str) -> str:
    return key.rpartition(".")[2]
