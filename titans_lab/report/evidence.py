"""The evidence of a report: the SQL that its numbers come from, pinned, with what the store answered.

The contract of every section:

* A number on the page comes from the result of a statement that was asked through `Evidence.ask`, and from nothing
  else of the store. The section names its statements (`Section.evidence`), and the page shows them on demand.
* A statement is pinned: it names the run ids (or benches, or data) that it is about, by `listed`, so that it has the
  same answer when the store has grown since. Its order is total (`order by` all that tells rows apart), and nothing in
  it hangs on the time or the machine.
* The first column tells whose a row is: the run's id, where there is one.

The page carries every statement and its result. `titans-lab report --check FILE` asks the store again, in the sandbox
of `titans_lab.store.query`, and then builds the page anew from the store and compares the sections: see
`titans_lab.report.check`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from titans_lab.store.query import Snapshot

Row = dict[str, Any]
Json = dict[str, Any]

#: A larger result is carried as a row for every run: how many rows it has, and a checksum of each column.
MOST_CELLS = 30_000
NULL = 0.6180339887  # what stands for null in a checksum: no number that anything has


@dataclass(frozen=True)
class Statement:
    """SQL and the store's answer.

    Attributes:
        name: On the page.
        sql: Pinned.
        columns: Of the result.
        rows: Of the result.
    """

    name: str
    sql: str
    columns: tuple[str, ...]
    rows: Sequence[Row] = field(repr=False)

    @property
    def record(self) -> Json:
        """As the page carries it."""
        large = len(self.columns) * len(self.rows) > MOST_CELLS
        columns = (self.columns[0], "rows", *self.columns[1:]) if large else self.columns
        rows = _condensed(self) if large else [[_plain(value) for value in row.values()] for row in self.rows]
        return {"sql": self.sql, "condensed": large, "columns": list(columns), "rows": rows}


@dataclass
class Evidence:
    """Asks a store, and keeps each statement with its answer.

    Attributes:
        snapshot: The store, read once, so that all statements see the same.
        statements: By name, in the order in which they were asked.
        damage: Records of the store that could not be read.
    """

    snapshot: Snapshot
    statements: dict[str, Statement] = field(default_factory=dict)
    damage: dict[str, None] = field(default_factory=dict)

    def ask(self, name: str, sql: str) -> Sequence[Row]:
        """The rows of `sql`, which the page will show under `name`; asked once for each name."""
        known = self.statements.get(name)
        assert known is None or known.sql == sql, f"{name}: two statements of one name"
        if known is None:
            answer = self.snapshot.ask(sql)
            self.damage |= dict.fromkeys(map(str, answer.damage))
            rows = answer.table.to_pylist()
            known = self.statements[name] = Statement(name, sql, tuple(answer.table.column_names), rows)
        return known.rows

    def records(self) -> dict[str, Json]:
        """All of it, as the page carries it."""
        return {name: statement.record for name, statement in self.statements.items()}


def listed(ids: Iterable[str]) -> str:
    """A list for SQL's `in`."""
    return ", ".join(map(quoted, ids)) or "null"


def quoted(text: str) -> str:
    """A string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _condensed(statement: Statement) -> list[list[Any]]:
    first, *others = statement.columns
    groups: dict[Any, list[Row]] = {}
    for row in statement.rows:
        groups.setdefault(row[first], []).append(row)
    return [
        [_plain(whose), len(rows), *(_checksum([row[name] for row in rows]) for name in others)]
        for whose, rows in groups.items()
    ]


def _checksum(values: Sequence[Any]) -> float:
    """Another number wherever a value changes or two change places."""
    return math.fsum(place * _number(value) for place, value in enumerate(values, 1))


def _number(value: Any) -> float:
    if value is None:
        return NULL
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return float(zlib.crc32(str(value).encode()))


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
