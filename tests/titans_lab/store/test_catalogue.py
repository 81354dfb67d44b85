from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.store.catalogue import ROWS, documented, markdown
from titans_lab.store.columns import SHOWN
from titans_lab.store.query import query
from titans_lab.store.store import Store
from titans_lab.store.views import VIEW_NAMES

PAGE = Path(__file__).parents[3] / "docs" / "columns.md"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == markdown(), "run: python docs/generate.py"


def test_every_view_and_column_is_documented() -> None:
    assert list(ROWS) == list(SHOWN)
    for view, columns in SHOWN.items():
        found = documented(view)
        assert {each.column.partition(".")[0] for each in found} == {column.name for column in columns}
        assert all(each.meaning for each in found)


def test_a_field_of_a_section_is_documented_by_its_docstring_and_can_be_asked_for(store: Store) -> None:
    fields = {each.column: each for each in documented("runs")}
    depth = fields["model.memory.depth"]
    assert (depth.type, depth.meaning.split(",")[0]) == ("BIGINT", "Layers of the memory MLP")
    names = ", ".join(name for name in fields)
    assert query(store.root, f"select {names} from runs").num_rows == 0


def test_another_view_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match="'run' is not a view; the views are runs, metrics"):
        documented("run")


def test_the_views_are_those_that_help_names():
    assert tuple(SHOWN) == VIEW_NAMES
