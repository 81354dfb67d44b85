"""Whether the numbers of a report are what the store says.

A report may come from a stranger: nothing of it is run but its SQL, which sees the store in the sandbox of
`titans_lab.store.query`, for a limited time. What it says is then held against two things:

* each statement against the store's answer now, value by value;
* the page against one that is built anew from the store, about the runs that the report names: its statements,
  sections, figures and scripts. Equal stores give equal pages, so whatever else the page shows, the store does not.
  This needs the version of the tool, and of plotly, that wrote the report.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError
from titans_lab.report.evidence import Evidence, Json
from titans_lab.report.render import page, report, versions
from titans_lab.report.subject import remembered
from titans_lab.store.query import Snapshot

SECONDS = 60.0  # that one statement may take
TOLERANCE = 1e-12  # of values, relative: sums may be taken in another order
DRAWN_TOLERANCE = 1e-6  # of what is drawn, which is rounded
MOST = 5  # differences of one statement that are told
_DATA = re.compile(r'<script type="application/json" id="(\w+)">(.*?)</script>', re.DOTALL)
_SECTION = re.compile(r'<section aria-labelledby="[^"]+".*?</section>', re.DOTALL)
_TITLE = re.compile(r"<h2[^>]*>(.*?)</h2>", re.DOTALL)


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes:
        statements: How many were asked.
        differences: A line each; none: all is as the store says.
        note: What could not be checked, and why; or "".
    """

    statements: int
    differences: tuple[str, ...]
    note: str


def check(path: Path, root: Path) -> Checked:
    """The report in the file `path` against the store at `root`; UserError where it is none of ours."""
    html, snapshot = _read(path), Snapshot(root)
    carried = _carried(path, html)
    statements: Mapping[str, Json] = carried["statements"]
    found = [line for name, each in statements.items() for line in _asked(name, each, snapshot)]
    if carried["version"] != versions():
        note = f"written by {_told(carried['version'])}, this is {_told(versions())}"
        return Checked(len(statements), tuple(found), f"{note}: its figures and tables were not built anew")
    found += _rebuilt(html, carried, snapshot)
    return Checked(len(statements), tuple(dict.fromkeys(found)), "")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a report, an HTML file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text; name a report, an HTML file") from error


def _carried(path: Path, html: str) -> Json:
    """What a page carries of the numbers' origin."""
    try:
        carried = json.loads(dict(_DATA.findall(html))["evidence"])
        if not all(map(_is_statement, carried["statements"].values())) or not remembered(carried["study"]).record:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: carries no evidence that can be checked; is it a report, and whole?") from error
    return carried


def _is_statement(record: Json) -> bool:
    rows, width = record["rows"], len(record["columns"])
    return (
        type(record["sql"]) is str and type(record["condensed"]) is bool and all(len(row) == width > 0 for row in rows)
    )


def _asked(name: str, carried: Json, snapshot: Snapshot) -> list[str]:
    evidence = Evidence(snapshot, seconds=SECONDS)
    try:
        evidence.ask(name, carried["sql"])
    except UserError as error:
        return [f"{name}: {error}"]
    now = evidence.statements[name].record(carried["condensed"])
    return _at_most([f"{name}: {line}" for line in _table_differences(carried, now)], name)


def _table_differences(carried: Json, now: Json) -> Iterator[str]:
    if carried["columns"] != now["columns"]:
        yield f"columns {_shown(carried['columns'])} in the report, {_shown(now['columns'])} in the store"
        return
    theirs, ours = _by_first(carried["rows"]), _by_first(now["rows"])
    for whose in dict.fromkeys([*theirs, *ours]):
        one, other = theirs.get(whose, []), ours.get(whose, [])
        if len(one) != len(other):
            yield f"{whose}: {len(one)} rows in the report, {len(other)} in the store"
            continue
        for before, after in zip(one, other, strict=True):
            yield from _row_differences(whose, carried["columns"], before, after)


def _row_differences(whose: str, columns: Sequence[Any], before: Sequence[Any], after: Sequence[Any]) -> Iterator[str]:
    for column, old, new in zip(columns, before, after, strict=True):
        if not _same(old, new, TOLERANCE):
            yield f"{whose}: {_shown(column)}: {_shown(old)} in the report, {_shown(new)} in the store"


def _rebuilt(html: str, carried: Json, snapshot: Snapshot) -> Iterator[str]:
    """How the page differs from the one that the store gives now."""
    told = report(remembered(carried["study"]), snapshot)
    anew = page(told).encode(errors="replace").decode()
    mine = _carried(Path("anew"), anew)
    for name in dict.fromkeys([*carried["statements"], *mine["statements"]]):
        if carried["statements"].get(name, {}).get("sql") != mine["statements"].get(name, {}).get("sql"):
            yield f"{_shown(name)}: not the statement that this version asks"
    if carried["study"] != mine["study"]:
        yield "the study: not as the report's own record of it"
    yield from _drawn_differences(html, anew)
    yield from _shown_differences(html, anew)


def _drawn_differences(html: str, anew: str) -> Iterator[str]:
    theirs, ours = (_figures(page) for page in (html, anew))
    for name in dict.fromkeys([*theirs, *ours]):
        if not _same(theirs.get(name), ours.get(name), DRAWN_TOLERANCE):
            yield f"figure {_shown(name)}: not drawn as the store gives it"


def _figures(html: str) -> Json:
    try:
        return dict(json.loads(dict(_DATA.findall(html))["drawing"])["figures"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def _shown_differences(html: str, anew: str) -> Iterator[str]:
    theirs, ours = (list(_sections(page)) for page in (html, anew))
    for title in dict.fromkeys(title for title, _ in (*theirs, *ours)):
        if [text for name, text in theirs if name == title] != [text for name, text in ours if name == title]:
            yield f"section {_shown(title)}: not as the store gives it"
    if _rest(html) != _rest(anew):
        yield "the page outside of its sections, or its scripts: not as this version writes them"


def _sections(html: str) -> Iterator[tuple[str, str]]:
    for text in _SECTION.findall(html):
        title = _TITLE.search(text)
        yield (title[1] if title else "", text)


def _rest(html: str) -> str:
    """With a mark for each block, so that one too many is noticed: a browser takes the first of two."""
    return _SECTION.sub("<section>", _DATA.sub(r"[\1]", html))


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key], tolerance) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other, [tolerance] * len(one)))
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=0.0)
    return type(one) is type(other) and one == other


def _by_first(rows: Sequence[Sequence[Any]]) -> dict[str, list[Sequence[Any]]]:
    groups: dict[str, list[Sequence[Any]]] = {}
    for row in rows:
        groups.setdefault(_shown(row[0]), []).append(row)
    return groups


def _at_most(lines: list[str], name: str) -> list[str]:
    return lines if len(lines) <= MOST else [*lines[:MOST], f"{name}: {len(lines) - MOST} more"]


def _shown(value: Any) -> str:
    """On one line, and without what would steer a terminal."""
    text = value if isinstance(value, str) else json.dumps(value)
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _told(version: Any) -> str:
    return _shown(", ".join(map(str, version)) if isinstance(version, list) else version)
