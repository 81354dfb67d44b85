"""A statement reaches the views and nothing else: not through `query`, and not past its filter of statements either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from titans_lab.errors import UserError
from titans_lab.store.folder import RunFolder
from titans_lab.store.query import close, connect, query
from titans_lab.store.store import Store

PYTHON_VARIABLE = pa.table({"secret": ["in a Python variable"]})

# FILE: outside the store, TARGET: a path that must not come to be, RECORD: in the store
ESCAPES = [
    "COPY runs TO 'TARGET'",
    "COPY runs TO 'RECORD' (FORMAT parquet)",
    "COPY (SELECT 1) TO 'TARGET' (FORMAT csv)",
    "WITH x AS (COPY runs TO 'TARGET') SELECT * FROM x",
    "WITH x AS (COPY (SELECT 1) TO 'RECORD') SELECT * FROM x",
    "EXPLAIN ANALYZE COPY runs TO 'TARGET'",
    "COPY runs FROM 'FILE'",
    "ATTACH 'TARGET'",
    "ATTACH 'FILE' AS other (READ_ONLY)",
    "EXPORT DATABASE 'TARGET'",
    "IMPORT DATABASE 'TARGET'",
    "SELECT * FROM read_text('FILE')",
    "SELECT * FROM read_blob('FILE')",
    "SELECT * FROM read_csv('FILE')",
    "SELECT * FROM sniff_csv('FILE')",
    "SELECT * FROM read_json('FILE')",
    "SELECT * FROM read_parquet('FILE')",
    "SELECT * FROM read_parquet('RECORD')",
    "SELECT * FROM parquet_metadata('RECORD')",
    "SELECT * FROM read_duckdb('FILE')",
    "SELECT * FROM glob('/*')",
    "FROM 'FILE'",
    "FROM 'FILE.csv'",
    "FROM 'https://example.org/x.csv'",
    "SELECT st_point(1, 2)",
    "SELECT * FROM query('FROM read_text(''FILE'')')",
    "SELECT getenv('HOME')",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET memory_limit = '1TB'",
    "SET temp_directory = 'TARGET'",
    "SET python_enable_replacements = true",
    "PRAGMA enable_profiling",
    "PRAGMA profiling_output = 'TARGET'",
    "CALL enable_logging(storage := 'file', storage_config := {'path': 'TARGET'})",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD 'TARGET'",
    "CREATE PERSISTENT SECRET s (TYPE http)",
    "SELECT * FROM duckdb_secrets()",
    "CREATE MACRO f() AS TABLE SELECT * FROM read_text('FILE')",
    "SELECT * FROM PYTHON_VARIABLE",
    "SELECT * FROM local_variable",
    "SELECT * FROM python_map_function((SELECT 1))",
    "SELECT * FROM arrow_scan()",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_text('file:///etc/passwd')",
    "SELECT * FROM read_text(['/etc/hostname', '/etc/passwd'])",
    "SELECT * FROM read_csv('/etc/passwd', sep = ':')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_ndjson('FILE')",
    "SELECT * FROM read_json_objects('FILE')",
    "SELECT * FROM parquet_schema('RECORD')",
    "SELECT * FROM parquet_file_metadata('RECORD')",
    "SELECT * FROM parquet_kv_metadata('RECORD')",
    "SELECT * FROM '/etc/passwd'",
    'SELECT * FROM "/etc/passwd"',
    'SELECT * FROM "FILE"',
    "SELECT (SELECT content FROM read_text('FILE'))",
    "SELECT * FROM runs WHERE run_id IN (SELECT content FROM read_text('FILE'))",
    "SELECT * FROM range(3) r, LATERAL (SELECT * FROM read_text('FILE'))",
    "WITH RECURSIVE x AS (SELECT content FROM read_text('FILE') UNION ALL SELECT * FROM x) SELECT * FROM x",
    "SELECT * FROM query_table('FILE')",
    "SELECT * FROM query_table(['/etc/passwd'])",
    "SELECT * FROM query('COPY (SELECT 1) TO ''TARGET''')",
    "SELECT * FROM query('ATTACH ''TARGET''')",
    "SELECT * FROM query('SELECT 1; ATTACH ''TARGET''')",
    "EXPLAIN ANALYZE SELECT * FROM read_text('FILE')",
    "EXPLAIN ANALYZE CREATE TABLE x AS FROM read_text('FILE')",
    "DESCRIBE SELECT * FROM read_text('FILE')",
    "SUMMARIZE SELECT * FROM read_text('FILE')",
    "SUMMARIZE 'FILE.csv'",
    "DESCRIBE 'RECORD'",
    "PIVOT (FROM read_text('FILE')) ON filename USING count(*)",
    "SELECT * FROM sqlite_scan('FILE', 'x')",
    "SELECT * FROM postgres_scan('host=127.0.0.1', 'a', 'b')",
    "SELECT * FROM iceberg_scan('FILE')",
    "SELECT * FROM delta_scan('FILE')",
    "SELECT * FROM read_xlsx('FILE')",
    "SELECT write_blob('TARGET', 'x')",
    "SELECT write_log('x', log_type := 'FileSystem'), read_text('FILE')",
    "COPY (FROM read_text('FILE')) TO '/dev/stdout'",
    "COPY runs TO PROGRAM 'touch TARGET'",
    "INSERT INTO runs FROM read_text('FILE')",
    "CREATE TABLE t AS FROM 'FILE'",
    "CREATE VIEW v AS SELECT * FROM read_text('FILE')",
    "SELECT system('touch TARGET')",
    "SELECT load_extension('httpfs')",
    "FORCE INSTALL httpfs FROM 'TARGET'",
    "UPDATE EXTENSIONS",
    "SET extension_directory = 'TARGET'",
    "SET home_directory = 'TARGET'",
    "SET log_query_path = 'TARGET'",
    "SET allowed_directories = ['/']",
    "SET allow_unsigned_extensions = true",
    "SET autoload_known_extensions = true",
    "SELECT set_config('memory_limit', '1TB', false)",
]

#: Statements that run, and change nothing.
INERT = [
    "SELECT 'COPY runs TO ''TARGET'''",
    "SELECT '/etc/passwd'",
    "EXPLAIN SELECT * FROM runs",
    "SELECT count(*) FROM duckdb_settings()",
    "SELECT * FROM query('SELECT count(*) FROM runs')",
    'SELECT run_id AS "\'; DROP TABLE runs; --" FROM runs',
    "SELECT 1 -- ; COPY runs TO 'TARGET'",
    "SELECT 1 /* ; ATTACH 'TARGET' */",
]

REFUSED_KINDS = [
    "CREATE TABLE x AS SELECT 1",
    "INSERT INTO runs VALUES (1)",
    "DROP VIEW runs",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "SET VARIABLE x = 1",
    "USE memory",
    "PREPARE p AS SELECT 1",
    "BEGIN",
    "CHECKPOINT",
    "SELECT 1; COPY runs TO 'TARGET'",
]


@pytest.fixture
def fill(tmp_path: Path, ended_run: Callable[..., RunFolder]) -> Callable[[str], str]:
    """Names real files in a statement."""
    record = ended_run("a1").metrics_path
    secret = tmp_path / "secret.txt"
    secret.write_text("top secret\n")

    def named(sql: str) -> str:
        return sql.replace("FILE", str(secret)).replace("TARGET", str(tmp_path / "out")).replace("RECORD", str(record))

    return named


@pytest.fixture
def untouched(tmp_path: Path, fill: object) -> Callable[[], bool]:
    """Whether every file is as it was and no other came."""

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = files()
    return lambda: files() == before


@pytest.mark.parametrize("sql", ESCAPES + REFUSED_KINDS)
def test_a_query_can_neither_write_nor_read_elsewhere(
    store: Store, fill: Callable[[str], str], untouched: Callable[[], bool], sql: str
) -> None:
    local_variable = PYTHON_VARIABLE  # noqa: F841 - what DuckDB's Python client looks for by default
    with pytest.raises(UserError, match=r"^query: "):
        query(store.root, fill(sql))
    assert untouched()


@pytest.mark.parametrize("sql", ESCAPES)
def test_the_closed_connection_holds_without_the_filter(
    fill: Callable[[str], str], untouched: Callable[[], bool], sql: str
) -> None:
    local_variable = PYTHON_VARIABLE  # noqa: F841
    with connect() as connection:
        close(connection, {"runs": pa.table({"run_id": ["a1"]})})
        with pytest.raises(duckdb.Error):
            connection.execute(fill(sql)).fetchall()
    assert untouched()


@pytest.mark.parametrize("sql", INERT)
def test_harmless_statements_run_and_change_nothing(
    store: Store, fill: Callable[[str], str], untouched: Callable[[], bool], sql: str
) -> None:
    assert query(store.root, fill(sql)).num_rows > 0
    assert untouched()


def test_a_parameter_is_never_read_as_sql(
    store: Store, fill: Callable[[str], str], untouched: Callable[[], bool]
) -> None:
    attack = fill("'; COPY runs TO 'TARGET'; --")
    answer = query(store.root, "select $x as x, count(*) as n from runs where run_id = $x", {"x": attack})
    assert answer.to_pylist() == [{"x": attack, "n": 0}]
    assert untouched()


def test_a_connection_sees_no_python_variable_even_before_it_is_closed() -> None:
    local_variable = PYTHON_VARIABLE  # noqa: F841
    with connect() as connection, pytest.raises(duckdb.CatalogException, match="local_variable does not exist"):
        connection.execute("SELECT * FROM local_variable")


def test_memory_is_limited_and_does_not_spill_to_disk(store: Store) -> None:
    sql = "select current_setting('memory_limit') as memory, current_setting('temp_directory') as spill"
    assert query(store.root, sql).to_pylist() == [{"memory": "4.0 GiB", "spill": ""}]
