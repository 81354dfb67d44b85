"""Forge records, pages and prepared data with correct checksums.

`records` yields what `benchmarks/damage.py` puts in the place of a record; `pages` and `data` are scenes of their own.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from calling import call

from titans_lab.store.files import SEAL, json_bytes
from titans_lab.store.logs import CHECK, to_line

#: The values that replace a value of each type, all of other types.
OTHER_TYPES: dict[type, list[Any]] = {
    dict: [[], "text", 7],
    list: [{}, "text", 7],
    str: [["text"], {}, 7],
    int: ["many", [1], 10**400],
    float: ["low", [0.5], 10**400],
    bool: ["yes", 7],
}
#: Names that lead out of a store, or nowhere; `{outside}` is the absolute path of a folder outside it.
ELSEWHERE = (
    "../../../outside/file", "../../outside/file", "../outside/file", "{outside}/file", "attempts/../../../file",
    "a/b", "..", "", "\x00", "x\n", "-\x1b[2J", "a" * 300,
)  # fmt: skip
#: Keys whose value, or whose keys, name a run, a study or a file.
NAMES = ("run_id", "name", "study", "files", "runs")
#: Values of a later or another version, by dotted key.
FOREIGN = {
    "config.model.variant": "mamba-9",
    "config.task.name": "chess",
    "state": "distilled",
    "summary.loss": "low",
    "form": "another",
    "metric.direction": "sideways",
}
LATER = {"colour": {"of": ["a", "later", "version"]}, "weight": None}
LATER_JSON = f", {json.dumps(LATER)[1:-1]}"  # as it stands behind the other keys
DEPTH = 3

Change = tuple[str, str, bytes]  # the kind of forgery, its place and form, and the content


def records(content: bytes, outside: Path) -> Iterator[Change]:
    """Yield forgeries of a record: what kind, where and how, and the content with its checksum."""
    with suppress(ValueError):
        record = json.loads(content)
        record.pop(SEAL, None)
        for kind, where, changed in _forgeries(record, outside):
            yield kind, where, json_bytes(changed)


def lines(content: bytes, outside: Path) -> Iterator[Change]:
    """Yield forgeries of the first of JSON lines, as `records` does."""
    line, _, rest = content.partition(b"\n")
    record = json.loads(line)
    record.pop(CHECK, None)
    for kind, where, changed in _forgeries(record, outside):
        yield kind, where, to_line(changed).encode() + rest


def _forgeries(record: Any, outside: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield records of another type, with a name that leads out, of another version, and with keys of a later one."""
    for path in _paths(record):
        value, dotted = _at(record, path), ".".join(map(str, path))
        for other in OTHER_TYPES.get(type(value), []):
            if path[0] != "params" or not isinstance(other, str):  # a text is a parameter's value as well
                yield "type", f"{dotted}: {brief(other)}", _with(record, path, other)
        if path[-1] in NAMES:
            for name in ELSEWHERE:
                for named in _renamed(value, name.replace("{outside}", str(outside))):
                    yield "name", f"{dotted}: {brief(named)}", _with(record, path, named)
        if dotted in FOREIGN:
            yield "foreign", f"{dotted}: {FOREIGN[dotted]}", _with(record, path, FOREIGN[dotted])
    yield "later", str(LATER), record | LATER


def brief(value: Any) -> str:
    """Return the beginning of what a value is."""
    return repr(value)[:40] if not isinstance(value, int) else f"{float(min(value, 10**300)):g}"


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of each value down to a depth; of a list's items that of the first."""
    inner: list[Any] = list(value) if isinstance(value, dict) else [0][: len(value)] if isinstance(value, list) else []
    for key in inner if len(path) < DEPTH else []:
        yield (*path, key)
        yield from _paths(value[key], (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the record with another value at a place."""
    changed = copy.deepcopy(record)
    _at(changed, path[:-1])[path[-1]] = value
    return changed


def _renamed(value: Any, name: str) -> Iterator[Any]:
    """Yield a value with this name in it: as the name itself, and as the name of the first thing that it lists."""
    if isinstance(value, str):
        yield name
    elif isinstance(value, dict) and value:
        yield {name: next(iter(value.values())), **dict(list(value.items())[1:])}
        yield {**value, name: next(iter(value.values()))}
    elif isinstance(value, list) and value and isinstance(value[0], str):
        yield [name, *value[1:]]


SCRIPT = "<script>document.title = 'forged'</script>"


def forged_pages(page: str) -> Iterator[tuple[str, str]]:
    """Yield forgeries of a report: what was done, and the page."""
    for number, block in enumerate(re.finditer(r"<script[^>]*json[^>]*>\s*\{", page)):
        yield f"a key in block {number}", page[: block.end()] + f'"forged": "{SCRIPT}", ' + page[block.end() :]
    sections = re.findall(r"<section.*?</section>", page, re.DOTALL)
    for number, section in enumerate(sections):
        yield f"section {number} gone", page.replace(section, "", 1)
        yield f"section {number} twice", page.replace(section, section * 2, 1)
        yield (
            f"a script in section {number}",
            page.replace(section, section.replace("</section>", f"{SCRIPT}</section>")),
        )
        yield f"section {number} hidden", page.replace(section, section.replace("<section", "<section hidden", 1), 1)
    for number, (one, other) in enumerate(itertools.pairwise(sections)):
        yield (
            f"sections {number} and the next exchanged",
            page.replace(one + other, "", 1).replace("</main>", f"{other}{one}</main>"),
        )
    for number in (1, 9, 99):
        yield f"comments and scripts, {number}", page.replace("</body>", "<!--<script>" * number + "</body>")
    for number, figure in enumerate(list(re.finditer(r">[^<>{}]*\d\.\d+[^<>{}]*<", page))[:40]):
        digits = re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), figure[0])
        yield f"figure {number}", page[: figure.start()] + digits + page[figure.end() :]
    for place in ("<head>", "</head>", "<body>", "</body>", "</html>"):
        for what in (
            SCRIPT,
            SCRIPT.upper(),
            "<style>main { display: none }</style>",
            "<img src=x onerror=alert(1)>",
            " ",
        ):
            yield f"{what[:8]} at {place}", page.replace(place, what + place, 1)
    yield "a script behind the page", page + SCRIPT
    yield "300 KB of scripts", page + "<script>" * 38_000
    yield "other ends of lines", page.replace("\n", "\r\n")
    yield "a byte-order mark", "\ufeff" + page
    yield "half", page[: len(page) // 2]


def pages(page: Path, store: Path) -> tuple[int, list[str]]:
    """Return how many forgeries of a page were checked, and what of them was not refused."""
    honest, forged, wrong = page.read_text(), page.with_name("forged.html"), []
    count = 0
    for what, text in forged_pages(honest):
        if text == honest:
            continue
        count += 1
        forged.write_bytes(text.encode())
        ended = call("report", "--check", forged, "--store", store)
        if ended.code not in (2, 3):
            wrong.append(f"page, {what}: exit code {ended.code}: {ended.out}{ended.err}")
    return count, wrong


def _edits(path: Path, others: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is done to a file of prepared data: its name, and a function that does it."""
    content, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)

    def put(changed: bytes) -> None:
        path.write_bytes(changed)
        os.utime(path, ns=times)  # as if nobody had written

    for place in (0, len(content) // 2, len(content) - 1):
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        yield f"byte {place} changed in place", lambda flipped=flipped: put(flipped)
    yield "longer", lambda: put(content + content[:1])
    yield "shorter", lambda: put(content[:-2])
    yield "empty", lambda: put(b"")
    yield "gone", path.unlink
    yield "a folder", lambda: (path.unlink(), path.mkdir())
    yield "a pipe", lambda: (path.unlink(), os.mkfifo(path))
    yield "a device", lambda: (path.unlink(), path.symlink_to("/dev/zero"))
    if (other := (others / path.name).read_bytes()) != content:
        yield "that of another text", lambda: put(other)
    if path.suffix == ".json":
        for kind, where, changed in records(content, others):
            if kind != "later" and not where.startswith("request."):  # from what it was made, which nothing uses
                yield f"{kind}: {where}", lambda changed=changed: put(_unsealed(changed))


def _unsealed(content: bytes) -> bytes:
    record = json.loads(content)
    record.pop(SEAL, None)
    return json.dumps(record).encode()


def data(folder: Path) -> tuple[int, list[str]]:
    """Return how many changes to prepared data were tried, and after which of them a study was planned as before."""
    for name, text in (("one", b"the memory learns at test time. "), ("two", b"and forgets what it need not. ")):
        (folder / f"{name}.txt").write_bytes(text * 99)
        assert call("data", "prepare", folder / f"{name}.txt", "-o", folder / name).code == 0
    study = folder / "prepared.yaml"
    study.write_text(
        f"base: {{data: {{path: {folder / 'one'}}}, train: {{seq_len: 32, batch_size: 2, tokens: 256}}}}\n"
    )
    plan = ("plan", study, "--store", folder / "empty", "--json")
    whole, count, wrong = call(*plan), 0, list[str]()
    assert whole.code == 0, whole
    for path in sorted((folder / "one").iterdir()):
        content = path.read_bytes()
        for what, do in list(_edits(path, folder / "two")):
            count += 1
            do()
            ended = call(*plan)
            if ended.code != 2 and (ended.code != 0 or _run_ids(ended.out) == _run_ids(whole.out)):
                wrong.append(f"prepared data, {path.name}, {what}: exit code {ended.code}: {ended.out}{ended.err}")
            elif ended.code == 2 and str(folder / "one") not in ended.err:
                wrong.append(f"prepared data, {path.name}, {what}: does not name it: {ended.err}")
            _restore(path, content)
            assert _run_ids(call(*plan).out) == _run_ids(whole.out), what
    return count, wrong


def _run_ids(plan: str) -> list[str]:
    return re.findall(r'"run_id": "([^"]*)"', plan)


def _restore(path: Path, content: bytes) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(content)
