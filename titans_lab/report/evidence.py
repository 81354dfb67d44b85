"""The evidence of a report: each SQL statement that its numbers come from, with the store's answer.

The rules for a section:

* Each number on the page comes from the result of a statement asked through `Evidence.ask`, and from nothing else in
  the store. The section names its statements (`Section.evidence`), and the page shows them on demand.
* A statement gives the same rows in the same order, to the last bit, as long as the store holds the same records. It
  names its run ids (`listed`), leaves out what was recorded after the page was drawn (`by_then`), sorts by all that
  tells rows apart, and sums floats in a fixed order: `avg(loss order by loss)`.
* The first column says which run a row is about, if it is about one.

`titans-lab report --check FILE` draws the page anew from the store and compares the bytes: see
`titans_lab.report.check`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from titans_lab.store.files import Damage
    from titans_lab.store.query import Snapshot

Row = dict[str, Any]
Json = dict[str, Any]

MOST_CELLS = 30_000  # cells of the largest result that the page carries; of a larger one it carries the SHA-256


@dataclass(frozen=True)
class Statement:
    """A SQL statement with the store's answer.

    Attributes:
        name: The name by which sections refer to it.
        sql: The statement.
        columns: Names of the result's columns.
        rows: The result.
    """

    name: str
    sql: str
    columns: tuple[str, ...]
    rows: Sequence[Row] = field(repr=False)

    @property
    def record(self) -> Json:
        """Return the statement as the page carries it: with its rows, or with their SHA-256 if there are many."""
        rows = [[_plain(value) for value in row.values()] for row in self.rows]
        lines = [json.dumps(row, separators=(",", ":")) for row in rows]
        record = {"sql": self.sql, "columns": list(self.columns), "count": len(rows)}
        record["sha256"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        return record | {"rows": rows if len(self.columns) * len(rows) <= MOST_CELLS else []}


@dataclass
class Evidence:
    """Asks a store, and keeps each statement with its answer.

    Attributes:
        snapshot: The store, read once, so that all statements see the same records.
        statements: The statements by name, in the order in which they were asked.
        damage: Records of the store that cannot be read.
    """

    snapshot: Snapshot
    statements: dict[str, Statement] = field(default_factory=dict)
    damage: dict[str, None] = field(default_factory=dict)

    def ask(self, name: str, sql: str) -> Sequence[Row]:
        """Return the rows of `sql`, which the page will show under `name`; each name belongs to one statement."""
        known = self.statements.get(name)
        assert known is None or known.sql == sql, f"{name}: two statements of one name"
        if known is None:
            answer = self.snapshot.ask(sql)
            self.damage |= dict.fromkeys(self._damaged(each) for each in answer.damage)
            rows = answer.table.to_pylist()
            known = self.statements[name] = Statement(name, sql, tuple(answer.table.column_names), rows)
        return known.rows

    def _damaged(self, found: Damage) -> str:
        """Return a record's path and what is wrong with it; the path does not say where the store is."""
        inside = found.path.is_relative_to(self.snapshot.root)
        return f"{found.path.relative_to(self.snapshot.root) if inside else found.path}: {found.reason}"


def listed(ids: Iterable[str]) -> str:
    """Return a list for SQL's `in`."""
    return ", ".join(map(quoted, ids)) or "null"


def quoted(text: str) -> str:
    """Return a string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def by_then(column: str, time: datetime) -> str:
    """Return the SQL condition that the time in `column` is not after `time`, or is unknown."""
    return f"coalesce({column} <= timestamp '{time.isoformat(' ')}', true)"


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
