"""Apply the rules of a study to its combinations, and say which combinations a problem concerns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from titans_lab.run.config import leaves
from titans_lab.run.values import show
from titans_lab.study.reading import Problems
from titans_lab.study.space import Layers, Rule


class Sieve:
    """Applies rules to combinations, counts the combinations that each rule removed, and keeps their faults."""

    def __init__(self) -> None:
        self.removed: Counter[str] = Counter()  # by the place of a rule
        self._faults: dict[str, list[Mapping[str, Any]]] = {}

    def fault(self, line: str, factors: Mapping[str, Any]) -> None:
        """Keep a fault of a combination."""
        self._faults.setdefault(line, []).append(factors)

    def passes(self, rules: Iterable[Rule], lookup: Callable[[str], Any], factors: Mapping[str, Any]) -> bool:
        """Return whether all rules keep a combination."""
        for rule in rules:
            try:
                holds = rule.holds(lookup)
            except ValueError as error:
                self.fault(f"{rule.place}: {rule.key}: {error}", factors)
                return False
            if holds != rule.keeps:
                self.removed[rule.place] += 1
                return False
        return True

    def report(self, total: int, problems: Problems) -> None:
        """Report each fault, with its combinations unless all have it. Raise UserError if there are any problems."""
        for line, factors in self._faults.items():
            problems.add_line(line + ("" if len(factors) == total else f" (with {some(factors)})"))
        problems.stop()


def blamed(fault: str, layers: Layers) -> str | None:
    """Return the place of the value that causes a fault, or None where no value is set that could.

    Args:
        fault: The fault, which begins with a dotted key and a colon. Further keys in its text may be the cause, too.
        layers: The settings.
    """
    key, _, words = fault.partition(":")
    section = key.rpartition(".")[0]
    named = re.findall(r"[a-z_][a-z0-9_.]*[a-z0-9]", words)
    suspects = (  # the likeliest first: named keys, keys of a named task, keys of the same section
        [key, *(full for word in named for full in (f"{section}.{word}", word))],
        [leaf for word in named for leaf in leaves() if leaf.startswith(f"task.{word}.")],
        [leaf for leaf in leaves() if leaf.startswith(f"{section}.")],
    )
    found = (layer[name].place for names in suspects for layer in layers for name in names if name in layer)
    return next(found, None)


def some(factors: Sequence[Mapping[str, Any]]) -> str:
    """Return a short description of some combinations."""
    first = ", ".join(f"{key}={show(value)}" for key, value in factors[0].items()) or "the base"
    return first + (f" and {len(factors) - 1} more" if len(factors) > 1 else "")
