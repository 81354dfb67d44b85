"""The check whether a report is the page that the store gives.

A report may come from a stranger. The check reads one block of it, the first: what the page was drawn for, which is run
ids and a time. It then draws the page anew from the store and compares the bytes, so nothing else on the page is
parsed, and none of its SQL is run. Equal stores give equal pages as long as the versions are the same
(`titans_lab.report.render.versions`).

What belongs to the time of drawing is compared by rule: a page shows no run that was recorded later than the page says
that it was drawn, and leaves out no run of the study that had begun by then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from titans_lab.errors import UserError
from titans_lab.report.bundle import SHARED
from titans_lab.report.render import page, report, versions
from titans_lab.report.subject import PageScope, Subject, of_runs, of_store, of_study, of_swept
from titans_lab.store.query import Snapshot

if TYPE_CHECKING:
    from titans_lab.report.render import Report
    from titans_lab.run.run import Run
    from titans_lab.study.study import Study

#: The bytes before the block, which ends at the next end of a script. The bytes after it are compared and never parsed.
OPENING = b"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<script id="origin" type="application/json">"""
CLOSING = b"</script>\n"
#: The element of a page whose script is a file that several pages share.
SHARED_SCRIPT = f'\n<script id="plotly" src="{SHARED}"></script>\n'.encode()
MOST_BYTES = 2**28  # the largest page; one of 10,000 runs has some 2**25
MOST_ORIGIN = 2**24  # the largest block in bytes
MOST_VERSIONS = 16
MOST_LETTERS = 160  # the longest excerpt of a page in a message
MOST_NAMED = 5  # the most differences of one part of the page that a message lists
START, BEFORE, AFTER = 32, 24, 64  # letters of an excerpt: of the line's start, and around the first difference
#: The begin of a part of our own page, and the name of the part.
PART = re.compile(rb"(?=\n<(?:style|header|main|nav|section|script|noscript|/main)\b)")
NAME = re.compile(rb'\n?<[!/]?(\w+)[^>"]*(?:"([^">]*)")?')


@dataclass(frozen=True)
class Checked:
    """The result of a check.

    Attributes:
        differences: The differences of the page from what the store gives, a line each. Empty: the bytes are equal.
        note: The reason why the page cannot be compared; empty if it can.
        drawn: The report as the store gives it. None: it was not drawn.
    """

    differences: tuple[str, ...]
    note: str = ""
    drawn: Report | None = field(default=None, compare=False, repr=False)


def check(path: Path, root: Path, study: tuple[Study, Sequence[Run]] | None = None) -> Checked:
    """Compare the report in the file `path` with the page that the store at `root` gives.

    Args:
        path: The report.
        root: The store.
        study: The study that the page is about, with its runs. None: the study of the last sweep, as the store recorded
            it.

    Raises:
        UserError: If the file is not a report, or the store has no record of what the page is about.
    """
    theirs, snapshot = _content(path), Snapshot(root)
    selection, drawn_with = _origin(path, theirs)
    if drawn_with != versions():
        return Checked((), f"drawn by {_listed(drawn_with)}; this is {_listed(versions())}")
    whole = _whole(selection, snapshot, study)
    known = {run.run_id: run for run in whole.runs}
    if unknown := [*_unknown(selection, known, snapshot)]:
        return Checked(tuple(unknown))
    runs = tuple(known[run_id] for run_id in selection.runs)
    subject = replace(whole, runs=runs, former=selection.former, drawn=selection.drawn)
    drawn = report(subject, snapshot)
    ours = page(drawn, shared=SHARED_SCRIPT in theirs).encode(errors="replace")
    found = [*_left_out(selection, whole, snapshot), *_later(selection, snapshot)]
    return Checked((*found, *(() if ours == theirs else differences(theirs, ours))), drawn=drawn)


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a regular file; name a report, an HTML file")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a report, an HTML file") from error
    if len(content) > MOST_BYTES:
        raise UserError(f"{path}: larger than any report ({MOST_BYTES // 2**20} MiB); name a report, an HTML file")
    return content


def _origin(path: Path, content: bytes) -> tuple[PageScope, dict[str, str]]:
    """Return the scope that a page records, and the versions that drew it."""
    end = content.find(CLOSING, len(OPENING), len(OPENING) + MOST_ORIGIN)
    try:
        if not content.startswith(OPENING) or end < 0:
            raise ValueError
        origin = json.loads(content[len(OPENING) : end])
        selection, drawn_with = PageScope.read(origin["selection"]), dict(origin["versions"])
        if len(drawn_with) > MOST_VERSIONS or not all(isinstance(text, str) for text in drawn_with.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: not a report of titans-lab, or changed in its first block, which says what the page was drawn "
            "for; ask for the report again"
        ) from error
    return selection, drawn_with


def _whole(selection: PageScope, snapshot: Snapshot, study: tuple[Study, Sequence[Run]] | None) -> Subject:
    """Return the subject with all of the runs that the store or the study file gives it today."""
    if study is not None:
        return of_study(*study, snapshot)
    if selection.kind == "comparison":
        known = _recorded(snapshot, "config is not null")
        return of_runs([run_id for run_id in selection.runs if run_id in known], snapshot)
    return of_store(snapshot) if selection.kind == "store" else of_swept(selection.name, snapshot)


def _unknown(selection: PageScope, known: Mapping[str, Run], snapshot: Snapshot) -> Iterator[str]:
    """Name the runs of the page that are not among the `known` ones of its subject."""
    recorded = _recorded(snapshot)
    yield from _few(
        f"run {_shown(run_id)}: not among the runs that the store records for this page"
        for run_id in selection.runs
        if run_id not in known
    )
    yield from _few(
        f"run {_shown(run_id)}: called a former run of the study, and the store has no record of it"
        for run_id in selection.former
        if run_id not in recorded
    )


def _left_out(selection: PageScope, whole: Subject, snapshot: Snapshot) -> Iterator[str]:
    """Name the runs of the subject that had begun when the page was drawn, and that it does not mention."""
    mentioned = {*selection.runs, *selection.former}
    begun = _recorded(snapshot, f"started <= timestamp '{selection.drawn.isoformat(' ')}'")
    return _few(
        f"run {run.run_id}: left out, although it had begun when the page was drawn"
        for run in whole.runs
        if run.run_id in begun and run.run_id not in mentioned
    )


def _later(selection: PageScope, snapshot: Snapshot) -> Iterator[str]:
    """Name the runs that ended after the page was drawn."""
    ended = _recorded(snapshot, f"finished > timestamp '{selection.drawn.isoformat(' ')}'")
    return _few(
        f"run {run_id}: ended after the page was drawn; draw the page again"
        for run_id in selection.runs
        if run_id in ended
    )


def _recorded(snapshot: Snapshot, condition: str = "true") -> set[str]:
    rows = snapshot.ask(f"select run_id from runs where {condition}")
    return set(rows.table.column("run_id").to_pylist())


def differences(theirs: bytes, ours: bytes) -> Iterator[str]:
    """Name the parts of our page that theirs lacks, and their replacements, in time linear in both."""
    at, absent = 0, list[bytes]()
    for part in PART.split(ours):
        found = theirs.find(part, at)
        if found < 0:
            absent.append(part)
            continue
        yield from _difference(theirs[at:found], absent, f"before {_name(part)}")
        at, absent = found + len(part), []
    yield from _difference(theirs[at:], absent, "at the end of the page")


def _difference(theirs: bytes, absent: list[bytes], where: str) -> Iterator[str]:
    """Describe what a page has in the place of some parts of ours, line by line."""
    names = ", ".join(map(_name, absent))
    if not theirs:
        yield from [f"{names}: not on the page"] if absent else []
    elif not absent:
        yield f"{where}: {len(theirs):,} bytes that the store does not give: {_excerpt(theirs.lstrip(), 0)}"
    else:
        old, new = theirs.split(b"\n"), b"".join(absent).split(b"\n")
        known, seen = {*new}, {*old}
        extra, lacking = [line for line in old if line not in known], [line for line in new if line not in seen]
        yield from _few(f"{names}: {_pair(*lines)}" for lines in zip_longest(extra, lacking, fillvalue=b""))
        yield from [] if extra or lacking else [f"{names}: lines in another order, or more than once"]


def _pair(theirs: bytes, ours: bytes) -> str:
    letters = zip(theirs, ours, strict=False)
    at = next((place for place, (one, other) in enumerate(letters) if one != other), min(len(theirs), len(ours)))
    page, store = (f"{_excerpt(line, at)}" if line else "nothing" for line in (theirs, ours))
    return f"the page has {page}, the store gives {store}"


def _excerpt(line: bytes, at: int) -> str:
    """Return an excerpt of a line: its beginning, which identifies the line, and the text around a position."""
    first = max(START, at - BEFORE)
    whole = line[: START + AFTER] if first == START else line[:START] + b" ... " + line[first : at + AFTER]
    return _shown(whole.decode(errors="replace").strip())


def _name(part: bytes) -> str:
    """Return the name of a part of our own page: its tag, and its id where it has one."""
    found = NAME.match(part)
    assert found
    return " ".join(word.decode() for word in found.groups() if word).removesuffix("-title")


def _few(lines: Iterator[str]) -> Iterator[str]:
    """Yield the first lines, and then how many more there are."""
    whole = list(lines)
    yield from whole[:MOST_NAMED]
    if len(whole) > MOST_NAMED:
        yield f"and {len(whole) - MOST_NAMED} more of this kind"


def _shown(text: str) -> str:
    """Return text on one line, without what would steer a terminal."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..."


def _listed(named: Mapping[str, str]) -> str:
    return ", ".join(_shown(f"{name} {version}") for name, version in named.items())
