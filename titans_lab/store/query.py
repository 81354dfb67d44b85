"""Run SQL over a store, in a DuckDB connection that can reach nothing else.

The views that a statement mentions are read into memory. Then the connection is shut off from every file, setting and
extension, and only then gets the statement. A filter on the kind of statement would not be enough: a COPY inside WITH
counts as a SELECT. Nor would views over the files: a path that may be read may also be written.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_lab.errors import UserError, listed, near
from titans_lab.store import arrow
from titans_lab.store.columns import ARM, RUN_ID, SHOWN, ColumnType
from titans_lab.store.files import Damage
from titans_lab.store.store import Store
from titans_lab.store.tables import Reader

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.dataset as ds

Parameters = Sequence[Any] | Mapping[str, Any]

MEMORY = 4 * 2**30  # bytes that a statement may use
MAX_THREADS = 4
_LOCKS = (
    "temp_directory = ''",
    "secret_directory = ''",  # its default is in the user's home
    "enable_external_access = false",
    "lock_configuration = true",
)
#: Types without an Arrow equivalent, and types that DuckDB converts wrongly, such as UHUGEINT to a signed integer.
_AS_TEXT = {
    *("uhugeint", "bignum", "bit", "interval", "time with time zone", "time_ns", "timestamp_ns"),
    *("union", "variant", "geometry"),
}
#: DuckDB's words for a name that no table has.
UNKNOWN_COLUMN = re.compile(
    r'Referenced column "([^"]+)" (?:was )?not found|does not have a column named "([^"]+)"|'
    r'Could not find key "([^"]+)" in struct'
)
_INTEGERS = {"hugeint", "uhugeint", "bignum"}  # above 64 bits


class TooLargeError(UserError):
    """A statement needs more memory than it may use."""


@dataclass(frozen=True)
class Answer:
    """The result of a statement, and the damaged records that were left out of it."""

    table: pa.Table
    damage: tuple[Damage, ...]


def query(root: Path, sql: str, parameters: Parameters = ()) -> pa.Table:
    """Run one SELECT over the views of the store at `root` and return its result: see `Snapshot.ask`."""
    return ask(root, sql, parameters).table


def ask(root: Path, sql: str, parameters: Parameters = ()) -> Answer:
    """Run one SELECT over the views of the store at `root`: see `Snapshot.ask`."""
    return Snapshot(root).ask(sql, parameters)


class Snapshot:
    """The store at `root`. Each view is read once, when a statement first mentions it.

    Raise UserError where there is no store.

    Args:
        root: The store's folder.
        memory: The largest memory in bytes that DuckDB uses for a statement.
    """

    def __init__(self, root: Path, memory: int = MEMORY) -> None:
        if not root.is_dir():
            raise UserError(
                f"{root}: no such folder; name the store with --store or TITANS_LAB_STORE, or sweep a study"
            )
        self.root = root
        self._memory = memory
        self._reader = Reader(Store(root))
        self._tables: dict[str, pa.Table | ds.Dataset] = {}

    def ask(self, sql: str, parameters: Parameters = (), seconds: float | None = None) -> Answer:
        """Run one SELECT over the views: see `titans_lab.store.columns.SHOWN`.

        `parameters` fill `?` in order, or `$name` by name; a text is compared with numbers as a number. Integers come
        as int64 and decimals as double where these hold them exactly, and else as decimals with all their digits.
        UserError: not one SELECT, an error in it, too much memory, or more than `seconds` of work.
        """
        import duckdb

        try:
            with connect() as connection:
                _check(connection, sql)
                tables = {view: self._table(view) for view in _mentioned(sql)}
                close(connection, tables, self._memory, self._arms(tables))
                with _at_most(seconds, connection):
                    table = _exact(connection.sql(sql, params=parameters or None))
        except duckdb.InterruptException:
            raise UserError(f"query: stopped after {seconds:g} s") from None
        except duckdb.OutOfMemoryException:
            raise TooLargeError(f"query: needs more memory than {self._memory / 2**30:.3g} GiB") from None
        except duckdb.Error as error:
            raise UserError(f"query: {_shortened(str(error), sql)}") from error
        return Answer(table, tuple(dict.fromkeys(self._reader.damage)))

    def _arms(self, tables: Mapping[str, pa.Table | ds.Dataset]) -> pa.Table | None:
        """Return the arm of each run where a dataset needs it; None: every table has its arms."""
        import pyarrow as pa

        if all(isinstance(table, pa.Table) for table in tables.values()):
            return None
        known = self._reader.arms
        return pa.table({RUN_ID.name: pa.array(known, pa.string()), ARM.name: pa.array(known.values(), pa.string())})

    def _table(self, view: str) -> pa.Table | ds.Dataset:
        if view not in self._tables:
            self._tables[view] = self._reader.shown(view)
        return self._tables[view]


@contextmanager
def _at_most(seconds: float | None, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupt the connection's work when the time is over."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def connect() -> duckdb.DuckDBPyConnection:
    """Return an empty database in memory that sees no Python variable. `close` shuts off everything else."""
    import duckdb

    settings = {
        "threads": str(min(MAX_THREADS, os.cpu_count() or 1)),
        "python_enable_replacements": "false",
    }
    return duckdb.connect(":memory:", config=settings)  # type: ignore[arg-type]


def close(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, pa.Table | ds.Dataset],
    memory: int = MEMORY,
    arms: pa.Table | None = None,
) -> None:
    """Give the connection these tables, and disable every other access permanently.

    Args:
        connection: An empty database.
        tables: The views by name.
        memory: Bytes that a statement may take.
        arms: The arm of each run, for the views that come without: see `Reader.shown`.
    """
    if arms is not None:
        connection.register("arms", arms)
    for name, table in tables.items():
        if arms is None or ARM.name in table.schema.names or RUN_ID.name not in table.schema.names:
            connection.register(name, table)
            continue
        connection.register(f"{name}_without_arms", table)
        connection.execute(
            f"CREATE VIEW {name} AS SELECT m.run_id, arms.arm, m.* EXCLUDE (run_id) "
            f"FROM {name}_without_arms m LEFT JOIN arms USING (run_id)"
        )
    connection.execute(f"SET memory_limit = '{memory} bytes'")
    for setting in _LOCKS:
        connection.execute(f"SET {setting}")


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise UserError(f"query: {len(statements)} statements; give one")
    try:
        kind = statements[0].type.name
    except ValueError:  # the client has no name for some kinds, such as UPDATE EXTENSIONS
        kind = "this kind of statement"
    if kind not in ("SELECT", "EXPLAIN", "MULTI"):  # MULTI: PIVOT
        raise UserError(f"query: {kind} is refused: a query reads (SELECT, DESCRIBE, SUMMARIZE)")


def _mentioned(sql: str) -> list[str]:
    """Return the views to load. DuckDB's `get_table_names` does not know for a PIVOT or query_table('ru' || 'ns')."""
    mentioned = [view for view in SHOWN if re.search(rf"\b{view}\b", sql, re.IGNORECASE)]
    return mentioned or list(SHOWN)


def _shortened(message: str, sql: str) -> str:
    message = message.partition("\n\n")[0]
    message = message.partition(" Error: ")[2] or message
    if message.startswith("Table with name"):
        message = f"{message.partition('!')[0]}; the views are {', '.join(SHOWN)}"
    if unknown := UNKNOWN_COLUMN.search(message):
        (name,) = filter(None, unknown.groups())
        message = f"no column {name}; {_suggested(name, columns(_mentioned(sql)))}"
    return " ".join(message.split())


def _suggested(name: str, known: Sequence[str]) -> str:
    """Return a suggestion of columns whose last part is similar, so that lr suggests train.lr."""
    by_end = {key.rpartition(".")[2]: key for key in sorted(known, key=lambda key: -key.count("."))}
    found = [by_end[end] for end in near(name, by_end)]
    return f"did you mean {' or '.join(found)}?" if found else f"there are {listed(known)}"


def columns(views: Iterable[str]) -> list[str]:
    """Return every column of some views; the keys of a configuration by their dotted names."""
    found = (key for view in views for column in SHOWN[view] for key in _keys(column.name, column.shape))
    return list(dict.fromkeys(found))


def _keys(name: str, shape: ColumnType) -> Iterator[str]:
    if not isinstance(shape, dict):
        yield name
        return
    for key, inner in shape.items():
        yield from _keys(f"{name}.{key}", inner)


def _exact(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """Return the rows of a relation with exactly the values that SQL shows."""
    names, kinds = relation.columns, relation.types
    casts = ["VARCHAR" if kind.id in _INTEGERS else _cast(kind) for kind in kinds]
    if any(casts):
        parts = (f"#{place}{f'::{cast}' if cast else ''} AS c{place}" for place, cast in enumerate(casts, 1))
        relation = relation.project(", ".join(parts))
    columns = [
        arrow.number(column, kind.id in _INTEGERS)
        for column, kind in zip(relation.to_arrow_table().columns, kinds, strict=True)
    ]
    return arrow.named(columns, names)


def _cast(kind: Any) -> str | None:
    """Return the type to cast a value to, for types without an equivalent in Arrow, or None where Arrow has one."""
    if kind.id in _AS_TEXT:
        return "VARCHAR"
    if kind.id not in ("list", "array", "struct", "map"):
        return None
    parts = dict(kind.children)
    size = parts.pop("size", "")
    if not any(map(_cast, parts.values())):
        return None
    inner = {name: _cast(part) or str(part) for name, part in parts.items()}
    if kind.id in ("list", "array"):
        return f"{inner['child']}[{size}]"
    if kind.id == "map":
        return f"MAP({inner['key']}, {inner['value']})"
    fields = (f"{_quoted(name)} {part}" for name, part in inner.items())
    return f"STRUCT({', '.join(fields)})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
