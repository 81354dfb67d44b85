"""The worked queries of docs/queries.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import ROOT, Found, blocks

from titans_lab.store.query import query
from titans_lab.store.store import Store
from titans_lab.study.study import load_study
from titans_lab.sweep import record_study

PAGE = ROOT / "docs" / "queries.md"
QUERIES = blocks(PAGE, "sql")


@pytest.fixture
def swept(a_store: Path) -> Path:
    """The quickstart's store, with the record of the study."""
    study = load_study(ROOT / "studies" / "quickstart.yaml")
    record_study(study.record(study.runs(lambda _: "0" * 64)), Store(a_store))
    return a_store


def test_there_are_twenty():
    assert len(QUERIES) == 20


@pytest.mark.parametrize("found", QUERIES, ids=lambda found: found.place)
def test_it_is_answered(found: Found, swept: Path):
    assert query(swept, found.text).column_names


def test_the_answers_are_those_of_the_store(swept: Path):
    means, paired, wins, *_ = (query(swept, found.text).to_pylist() for found in QUERIES[:3])
    assert [(row["arm"], row["seeds"]) for row in means] == [(row["arm"], 5) for row in means]
    assert {round(row["mean"], 9) for row in means} == {2.52}
    baseline = "variant=transformer"
    others = {row["arm"] for row in means} - {baseline}
    assert {(row["arm"], row["baseline"], row["pairs"], row["mean"]) for row in paired} == {
        (arm, baseline, 5, 0.0) for arm in others
    }
    assert {(row["arm"], row["wins"], row["pairs"]) for row in wins} == {(arm, 0, 5) for arm in others}
