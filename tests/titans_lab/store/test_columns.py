from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Literal

import pytest

from titans_lab.store.columns import SHOWN, Column, shape_of


@dataclass(frozen=True)
class Inner:
    rate: float | None = None
    kind: Literal["a", "b"] = "a"
    size: Literal[8, 16] = 8


@dataclass(frozen=True)
class Outer:
    on: bool = True
    inner: Inner = field(default_factory=Inner)


def test_a_configuration_has_a_type_in_sql() -> None:
    column = Column("outer", shape_of(Outer), "")
    assert column.type == "STRUCT(on BOOLEAN, inner STRUCT(rate DOUBLE, kind VARCHAR, size BIGINT))"


def test_a_type_without_a_column_is_named() -> None:
    with pytest.raises(TypeError, match="complex"):
        shape_of(complex)


def test_every_column_is_documented_and_named_once() -> None:
    for columns in SHOWN.values():
        names = [column.name for column in columns]
        assert len(names) == len(set(names))
        assert all(column.meaning for column in columns)


def test_the_recorder_imports_no_database_and_no_torch() -> None:
    heavy = {"duckdb", "pyarrow", "torch", "pydantic"}
    code = f"import sys, titans_lab.store.recorder; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
