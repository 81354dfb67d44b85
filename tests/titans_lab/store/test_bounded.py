"""A statement ends within its bounds, whatever it is, and its result has every digit in every format."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from titans_lab.errors import UserError
from titans_lab.store.bounded import Bounds, ask_bounded
from titans_lab.store.query import query
from titans_lab.store.store import Store
from titans_lab.tables import Format

START = 20.0  # seconds for a process to start on a machine that runs other tests, and much less than these take


def ask(store: Store, sql: str, form: Format = "json", bounds: Bounds | None = None) -> bytes:
    with ask_bounded(store.root, sql, {}, form, bounds or Bounds()) as reply:
        assert reply.warnings == ()
        return reply.content.read()


@pytest.mark.parametrize(
    "sql",
    [
        "select levenshtein(repeat('a', 2000000), repeat('b', 2000000))",  # one call of a function
        "select count(*) from range(1000000) a, range(1000000) b where a.range * b.range % 7 = 3",
        "with recursive x as (select 1 as n union all select n + 1 from x) select max(n) from x",
    ],
)
def test_a_statement_is_stopped_when_its_time_is_over(store: Store, sql: str) -> None:
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"^query: stopped after 1.5 s; --timeout gives it more$"):
        ask(store, sql, bounds=Bounds(seconds=1.5))
    assert time.monotonic() - begin < START


@pytest.mark.parametrize(
    "sql",
    [
        "select len(list_sort(list_transform(range(300000000), lambda x: hash(x))))",  # folded before anything runs
        "select range(1000000) from range(10000000)",
        "select * from range(100000000)",  # fits, but not as the text that is asked for
    ],
)
def test_a_statement_is_stopped_where_it_needs_more_memory(store: Store, sql: str) -> None:
    with pytest.raises(UserError, match=r"^query: needs more memory than 1 GiB; --memory gives it more$"):
        ask(store, sql, bounds=Bounds(memory=2**30))


def test_the_least_memory_is_enough_for_a_small_statement(store: Store) -> None:
    assert json.loads(ask(store, "select count(*) as n from runs", bounds=Bounds(memory=2**29))) == [{"n": 0}]
    with pytest.raises(UserError, match="the least is 512M"):
        Bounds(memory=2**29 - 1)


VALUES = {
    "340282366920938463463374607431768211455::uhugeint": 2**128 - 1,
    "(-170141183460469231731687303715884105727::hugeint - 1)": -(2**127),
    "18446744073709551615::ubigint": 2**64 - 1,
    "'123456789012345678901234567890123456789012345678901234567890'::bignum": int("1234567890" * 6),
    "sum(x)": 2**64 - 2,
    "[340282366920938463463374607431768211455::uhugeint]": ["340282366920938463463374607431768211455"],
    "{'a b': 9223372036854775808::hugeint}": {"a b": 2**63},
    "123456789012345678901234567.1234567891::decimal(38, 10)": "123456789012345678901234567.1234567891",
    "1.10::decimal(10, 2)": 1.1,
    "'10110'::bit": "10110",
    "interval 3 days": "3 days",
}


@pytest.fixture(scope="module")
def every_format(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One result with a column for each of `VALUES`, in each format."""
    store = Store(tmp_path_factory.mktemp("digits"))
    columns = ", ".join(f"{sql} as c{place}" for place, sql in enumerate(VALUES))
    sql = f"select {columns} from (values (9223372036854775807), (9223372036854775807)) t(x)"
    forms: list[Format] = ["json", "csv", "parquet", "md", "table"]
    return {form: ask(store, sql, form) for form in forms}


@pytest.mark.parametrize("place", range(len(VALUES)))
def test_every_digit_arrives_in_every_format(every_format: dict[str, bytes], place: int) -> None:
    value, name = list(VALUES.values())[place], f"c{place}"
    text = json.dumps(value) if isinstance(value, list | dict) else str(value)
    assert json.loads(every_format["json"])[0][name] == value
    assert next(csv.DictReader(io.StringIO(every_format["csv"].decode())))[name] == text
    assert text in every_format["md"].decode().replace("\\", "")
    assert text in every_format["table"].decode()
    [kept] = pq.read_table(io.BytesIO(every_format["parquet"]))[name].to_pylist()
    assert plainly(kept) == value


def plainly(value: Any) -> Any:
    """A decimal of Parquet as a number, where it is whole, or as text."""
    if isinstance(value, dict):
        return {key: plainly(inner) for key, inner in value.items()}
    if type(value).__name__ == "Decimal":
        return int(value) if value == value.to_integral_value() else str(value)
    return value


def test_no_setting_tells_where_the_user_lives(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = query(store.root, "select name, value from duckdb_settings()").to_pylist()
    assert not [row for row in settings if str(tmp_path) in (row["value"] or "")]
    secret = query(store.root, "select current_setting('secret_directory') as folder").to_pylist()
    assert secret == [{"folder": ""}]
