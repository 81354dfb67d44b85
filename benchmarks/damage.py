"""Damage or forge every record of a store, and check that each is reported and that everything else stays the same.

    python benchmarks/damage.py                     # every 29th byte, and every byte of short files: 18 min of CPU
    python benchmarks/damage.py --stride 1          # every byte: hours
    python benchmarks/damage.py --files '*status.json' --kinds flip gone --stride 1
    python benchmarks/damage.py --kinds type name foreign later --scenes pages data

A record is cut off, emptied, replaced by noise, removed, replaced by a folder, a pipe, or a link to itself or to a copy
elsewhere, or one of its bits is flipped. Its modification time stays, as with a faulty disk. Or it is forged with a
correct checksum: a value of another type, a name that leads elsewhere, a variant or a state of another version, a key
of a later one (see `forged.py`). After each of these

* all views and `status` show the other runs as before. Where they show this run differently, they name the file on
  stderr. `doctor` names every file that is not shown;
* the first time that a file looks like this, `query`, `status`, `report`, `report --check`, `doctor` and `sweep` are
  called, each with its documented exit code. The report is as before or names the file. The sweep ends with every run
  recorded once, with its numbers;
* after a forgery, `doctor --fix`, `export`, `import` and `compact` are called on copies, too, and the files outside the
  store are as before.

Two more scenes: `pages` forges a report in many ways, and `report --check` must refuse each; `data` changes prepared
data, and no study may be planned with it under the same ids.

These need not be named: a missing file that no other record refers to; content that nothing shows or uses, such as a
note of another type or the key of a later version; the end of a log of JSON lines, which a kill cuts off, too; claims,
and the output of workers, on which no result depends. Nor need a sweep name a record of a compacted run whose size and
modification time are as they were: the sweep reads the compaction, and `doctor` reads the record.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import random
import re
import shutil
import stat
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import every_record
import forged
from calling import Ended, call

import titans_lab.cli.studies
import titans_lab.doctor
import titans_lab.launch
import titans_lab.sweep
from titans_lab.cli.output import print_table
from titans_lab.store.check import faults
from titans_lab.store.columns import VIEWS
from titans_lab.store.compacted import Compacted
from titans_lab.store.compaction import compact
from titans_lab.store.files import DamagedError
from titans_lab.store.records import read_status
from titans_lab.store.status import FINISHED
from titans_lab.store.store import Store
from titans_lab.store.tables import Reader

SHORT = 100  # bytes; of shorter files, every byte is damaged
LONG = 4096  # bytes; of longer files, no more places are damaged than of one of this length, unless all are
OLD = 1_750_000_000  # the modification time of all records
KEYS = {"studies": "study", "searches": "search", "benches": "bench", "ngram_baselines": "data_hash", "runs": "run_id"}
#: Records without a checksum, on which nothing that is shown depends.
UNVOUCHED = ("claim", "log.txt")
#: The records that a sweep reads. The others are only shown.
SWEPT = ("*/run.json", "*/status.json")
ALL = ", ".join(f"(select count(*) from {view})" for view in VIEWS)
RUNS = "run_id, state, loss, score, train_loss, tokens, steps"
Damaging = Callable[[Path, bytes], None]


@dataclass(frozen=True)
class Look:
    """The output of all reading verbs on a store.

    Attributes:
        rows: The rows of each view, as text.
        damage: The damage that was reported for it.
        status: The status of the study.
        faults: The faults that `doctor` finds.
    """

    rows: dict[str, list[tuple[dict[str, Any], str]]]
    damage: str
    status: Ended
    faults: str

    @classmethod
    def at(cls, bench: Bench) -> Look:
        reader = Reader(bench.lab.store)
        rows = {view: [(row, repr(row)) for row in reader.table(view).to_pylist()] for view in VIEWS}
        damage = "\n".join(map(str, reader.damage))
        found = "\n".join(str(fault.damage) for fault in faults(bench.lab.store))
        return cls(rows, damage, call("status", bench.lab.swept, "--store", bench.root), found)

    def texts(self, view: str, owner: tuple[str, str] | None = None) -> list[str]:
        """Return the rows, without those of an owner."""
        return sorted(text for row, text in self.rows[view] if not owner or row.get(owner[0]) != owner[1])

    @property
    def shape(self) -> str:
        """Return a text that is equal for stores that look the same, whatever the messages say."""
        views = {view: self.texts(view) for view in VIEWS}
        files = sorted({line.partition(": ")[0] for line in f"{self.damage}\n{self.faults}".splitlines()})
        return f"{views}{self.status.out}{files}"


@dataclass
class Bench:
    """A store, and how it looks when it is whole."""

    lab: every_record.Lab
    folder: Path
    copies: int = 0

    @property
    def root(self) -> Path:
        return self.lab.store.root

    @cached_property
    def whole(self) -> Look:
        return Look.at(self)

    @cached_property
    def page(self) -> Path:
        """Return the report on the whole store."""
        ended = call("report", "--store", self.root, "-o", self.folder / "whole.html")
        assert ended.code == 0, ended
        return self.folder / "whole.html"

    @cached_property
    def swept(self) -> tuple[list[str], list[str]]:
        """Return the runs and metrics after a sweep of the whole store."""
        return self.sweep()[1:]

    def sweep(self) -> tuple[Ended, list[str], list[str]]:
        """Sweep a copy of the store, and return how it ended, its runs and its metrics."""
        copy = Path(shutil.copytree(self.root, self.folder / "copy", symlinks=True, copy_function=copied))
        try:
            ended = call("sweep", self.lab.swept, "--no-verify", "--store", copy)
            reader = Reader(Store(copy))
            runs = [repr([row[name] for name in RUNS.split(", ")]) for row in reader.table("runs").to_pylist()]
            metrics = [repr(row) for row in reader.table("metrics").to_pylist()]
            twice = [folder.run_id for folder in Store(copy).folders() if len(_results(folder.path)) > 1]
            assert not twice, f"two results of {twice}"
            self.copied_damage = "\n".join(map(str, reader.damage)).replace(str(copy), str(self.root))
        finally:
            shutil.rmtree(copy)
        words = ended.err.replace(str(copy), str(self.root))
        return Ended(ended.code, ended.out, words), sorted(runs), sorted(metrics)


def copied(source: str, target: str) -> None:
    """Copy a file, or make a pipe where there is one."""
    if stat.S_ISFIFO(os.lstat(source).st_mode):
        os.mkfifo(target)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def _results(folder: Path) -> list[Path]:
    """Return the sound commits of a run that have a result: a damaged one is moved to its attempt, and is none."""
    return [path for path in folder.rglob("status.json") if _is_result(path)]


def _is_result(path: Path) -> bool:
    try:
        return read_status(path).state in FINISHED
    except (DamagedError, FileNotFoundError):
        return False


@dataclass(frozen=True)
class Case:
    """A file and a kind of damage to it."""

    bench: Bench
    path: Path
    kind: str
    at: int | str
    do: Damaging

    @property
    def owner(self) -> tuple[str, str] | None:
        """Return the column and value of the rows that come only from the file, or None."""
        kind, name, *_ = self.path.relative_to(self.bench.root).parts
        if kind == "ngram_baselines":
            name = self.bench.lab.runs[0].data_hash
        return (KEYS[kind], name.removesuffix(".json")) if kind in KEYS else None

    @property
    def excused(self) -> bool:
        """Return whether rows may be missing without a message."""
        return self.kind == "gone" or (self.path.suffix == ".jsonl" and self.kind in ("cut", "empty"))

    @property
    def silent(self) -> bool:
        """Return whether no verb has to name the file, because everything is shown as before."""
        return self.excused or self.kind in ("type", "name", "later", "link") or self.path.name in UNVOUCHED

    def known(self, texts: list[str]) -> list[str]:
        """Return rows without the keys of a later version, which a column that is JSON has as they are."""
        return [text.replace(forged.LATER_JSON, "") for text in texts] if self.kind == "later" else texts

    def __str__(self) -> str:
        return f"{self.path.relative_to(self.bench.root)} {self.kind} at {self.at}"


@dataclass
class Verdict:
    """The results of all cases.

    Attributes:
        wrong: The errors.
        named: The number of times that a file was named, by kind of file, kind of damage and verb.
    """

    wrong: list[str] = field(default_factory=list)
    named: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    shapes: set[str] = field(default_factory=set)
    calls: int = 0


def kinds(
    path: Path, stride: int, bits: int, draw: random.Random, outside: Path
) -> Iterator[tuple[str, int | str, Damaging]]:
    """Yield every kind of damage to a file: its name, its place, and the function that does it."""
    content = path.read_bytes()
    for length in range(0, len(content.removesuffix(b"\n")), stride):  # without its last newline a record is whole
        yield "cut" if length else "empty", length, lambda path, whole, n=length: put(path, whole[:n])
    yield "noise", 0, lambda path, whole: put(path, random.Random(0).randbytes(len(whole)))
    for place in range(0, len(content), stride):
        for bit in draw.sample(range(8), bits):
            yield "flip", place, lambda path, whole, n=place, bit=bit: put(path, flipped(whole, n, bit))
    yield "gone", 0, lambda path, _: path.unlink()
    yield "folder", 0, lambda path, _: (path.unlink(), path.mkdir(), os.utime(path, (OLD, OLD)))
    yield "pipe", 0, lambda path, _: (path.unlink(), os.mkfifo(path), os.utime(path, (OLD, OLD)))
    yield "loop", 0, lambda path, _: (path.unlink(), path.symlink_to(path))
    yield (
        "link",
        0,
        lambda path, whole: (put(outside / "copy", whole), path.unlink(), path.symlink_to(outside / "copy")),
    )
    forgeries = forged.lines if path.suffix == ".jsonl" else forged.records
    for kind, where, changed in forgeries(content, outside):
        yield kind, where, lambda path, _, changed=changed: put(path, changed)


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def put(path: Path, content: bytes) -> None:
    """Write a file and keep its modification time."""
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))


def restore(path: Path, content: bytes) -> None:
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    put(path, content)


def try_case(case: Case, verdict: Verdict) -> None:
    """Damage the file, look at the store with all verbs, and restore the file."""
    content = case.path.read_bytes()
    case.do(case.path, content)
    try:
        look = Look.at(case.bench)
        problems = [*looked(case, look), *count(case, look, verdict)]
        shape = f"{case.path}{case.path.exists()}{case.path.is_dir()}{look.shape}"
        if shape not in verdict.shapes:
            verdict.shapes.add(shape)
            verdict.calls += 1
            problems += called(case)
            problems += forgery(case) if case.kind in FORGED else ()
    except Exception:
        problems = [traceback.format_exc()]
    finally:
        restore(case.path, content)
    for problem in problems:
        verdict.wrong.append(f"{case}: {problem}")
        print(f"WRONG: {verdict.wrong[-1]}", flush=True)


def looked(case: Case, look: Look) -> Iterator[str]:
    """Yield the errors in the output of the reading verbs."""
    whole, path = case.bench.whole, str(case.path)
    for view in VIEWS:
        if look.texts(view, case.owner) != whole.texts(view, case.owner):
            yield f"{view}: what is shown of others has changed"
        elif case.known(look.texts(view)) != whole.texts(view) and path not in look.damage and not case.excused:
            yield f"{view}: shown otherwise, without a word"
    if look.status.code != 0:
        yield f"status: exit code {look.status.code}: {look.status.err}"
    elif look.status.out != whole.status.out and path not in look.status.err and not case.excused:
        yield "status: shown otherwise, without a word"


def count(case: Case, look: Look, verdict: Verdict) -> Iterator[str]:
    """Count the verbs that named the file, and yield what is wrong with that."""
    said = {"query": look.damage, "status": look.status.err, "doctor": look.faults}
    by = [name for name, words in said.items() if str(case.path) in words]
    place = re.sub(r"/[0-9a-f]{16}/", "/*/", f"/{case.path.relative_to(case.bench.root)}")[1:]
    place = re.sub(r"-[0-9a-f]{8,}", "-*", place)
    verdict.named.setdefault((place, case.kind), Counter()).update([*by, "cases", *([] if by else ["nobody"])])
    if not by and not case.silent:
        yield "named by nobody"
    if by and case.kind == "later":
        yield f"named by {', '.join(by)}, although a later version may say more"


def called(case: Case) -> Iterator[str]:
    """Yield the errors of the verbs that are called on the damaged store."""
    bench, path, at = case.bench, str(case.path), ("--store", case.bench.root)
    for words, codes in ((("query", f"select {ALL}"), {0}), (("status",), {0}), (("doctor",), {0, 3})):
        ended = call(*words, *at)
        if ended.code not in codes:
            yield f"{words[0]}: exit code {ended.code}: {ended.err}"
    page = bench.folder / "damaged.html"
    ended = call("report", *at, "-o", page)
    same = ended.code == 0 and timeless(page) == timeless(bench.page)
    if ended.code != 0 and (ended.code != 2 or path not in ended.err):
        yield f"report: exit code {ended.code}: {ended.err}"
    elif not same and in_store(case) not in ended.err + page.read_text() and not case.excused:
        yield "report: otherwise, without a word"
    if not same and (ended := call("report", "--check", bench.page, *at)).code not in (0, 3):
        yield f"report --check: exit code {ended.code}: {ended.out}{ended.err}"
    yield from swept(case)


def forgery(case: Case) -> Iterator[str]:
    """Yield what is wrong with the verbs that move and copy records, and with the files outside the store."""
    bench, before = case.bench, beside(case.bench)
    copy = Path(shutil.copytree(bench.root, bench.folder / "copy", symlinks=True, copy_function=copied))
    archive, other = bench.folder / "copy.tar.gz", bench.folder / "other"
    steps: list[tuple[tuple[object, ...], set[int]]] = [
        (("compact", "--store", copy), {0, 2}),
        (("export", "-o", archive, "--store", copy), {0, 2}),
        (("import", archive, "--store", other), {0, 2, 3}),
        (("query", f"select {ALL}", "--store", other), {0, 2}),
        (("report", "--store", copy), {0, 2}),
        (("doctor", "--fix", "--store", copy), {0, 2, 3}),
    ]
    for words, codes in steps:
        ended = call(*words)
        if ended.code not in codes:
            yield f"{words[0]}: exit code {ended.code}: {ended.err}"
    shutil.rmtree(copy)
    shutil.rmtree(other, ignore_errors=True)
    archive.unlink(missing_ok=True)
    if beside(bench) != before:
        yield f"beside the store: {sorted(before.items() ^ beside(bench).items())[:3]}"


def beside(bench: Bench) -> dict[str, bytes]:
    """Return the content of every file and folder outside the store."""
    others = [path for path in bench.folder.rglob("*") if not path.is_relative_to(bench.root)]
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in others}


def timeless(page: Path) -> str:
    """Return the page without its time of drawing, which its statements also contain."""
    text = page.read_text()
    drawn = re.search(r'"drawn": ?"([^"]*)"', text)
    assert drawn
    for moment in (drawn[1], drawn[1].replace("T", " ")):
        text = text.replace(moment, "")
    return re.sub(r"Drawn on [^.]* UTC", "", text)


def in_store(case: Case) -> str:
    """Return the record as a report names it: by its path below the store."""
    return case.path.relative_to(case.bench.root).as_posix()


def swept(case: Case) -> Iterator[str]:
    """Yield the errors of a sweep of the damaged store."""
    bench, path = case.bench, str(case.path)
    ended, runs, metrics = bench.sweep()
    if ended.code != 0:
        if ended.code != 2 or path not in ended.err:
            yield f"sweep: exit code {ended.code}: {ended.err}"
        return
    if runs != bench.swept[0]:
        yield f"sweep: ends with other runs: {sorted(set(runs) ^ set(bench.swept[0]))}"
    if metrics != bench.swept[1] and path not in bench.copied_damage:
        yield "sweep: ends with other metrics"
    excused = path in ended.err or case.excused or case.kind in ("link", "later")
    if not excused and any(fnmatch.fnmatch(path, pattern) for pattern in SWEPT) and not is_compacted(case):
        yield f"sweep: does not name it: {ended.err}"


def is_compacted(case: Case) -> bool:
    """Return whether a sweep reads the rows of the file's run from the compaction: size and time are as they were."""
    compacted = Compacted.load(case.bench.root)
    return compacted is not None and case.path.relative_to(case.bench.root).parts[1] in compacted.entries


def records(bench: Bench, pattern: str) -> list[Path]:
    """Return a record of every kind, and for runs those of every state."""
    runs = [run.run_id for run in bench.lab.runs]
    wanted = {runs[0], *runs[3:]}
    files = sorted(path for path in bench.root.rglob("*") if path.is_file())
    files = [path for path in files if path.parts[len(bench.root.parts)] != "runs" or wanted & set(path.parts)]
    return [path for path in files if fnmatch.fnmatch(path.relative_to(bench.root).as_posix(), pattern)]


def make(folder: Path, compacted: bool) -> Bench:
    """Return a store whose files have one old modification time, as if nobody had written for long."""
    folder.mkdir()
    lab = every_record.make(folder)
    (folder / "outside").mkdir()
    (folder / "outside" / "file").write_text("somebody's")
    age(lab.store.root)
    if compacted:
        compact(lab.store)
        age(lab.store.root / "compact")
    return Bench(lab, folder)


def age(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        os.utime(path, (OLD, OLD))


def cases(benches: Iterable[Bench], given: argparse.Namespace) -> Iterator[Case]:
    draw = random.Random(given.seed)
    for bench in benches:
        for path in records(bench, given.files):
            length = path.stat().st_size
            stride = given.stride if length > SHORT else min(given.stride, given.short)
            stride *= max(1, length // LONG) if stride > 1 else 1
            for kind, at, do in kinds(path, stride, given.bits, draw, bench.folder / "outside"):
                if kind in given.kinds:
                    yield Case(bench, path, kind, at, do)
            print(f"{bench.folder.name}: {path.relative_to(bench.root)}", flush=True)


def play(scene: str, bench: Bench, verdict: Verdict) -> int:
    """Run a scene of `forged.py`, and return how many cases it had."""
    count, wrong = forged.pages(bench.page, bench.root) if scene == "pages" else forged.data(bench.folder)
    verdict.wrong += wrong
    for line in wrong:
        print(f"WRONG: {line}", flush=True)
    print(f"{scene}: {count} cases, {len(wrong)} wrong", flush=True)
    return count


def show(verdict: Verdict) -> None:
    columns = ("query", "status", "doctor", "nobody")
    rows = [
        (place, kind, str(found["cases"]), *(str(found[name] or "-") for name in columns))
        for (place, kind), found in verdict.named.items()
    ]
    print_table(("record", "damage", "cases", *columns), rows)


FORGED = ("type", "name", "foreign", "later")
KINDS = ("cut", "empty", "noise", "flip", "gone", "folder", "pipe", "loop", "link", *FORGED)
SCENES = ("pages", "data")


def main() -> int:
    """Run the cases, and return the exit code: 0 if every case is as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stride", type=int, default=29, help="bytes from one damaged one to the next")
    parser.add_argument("--short", type=int, default=1, help=f"the same, of files of at most {SHORT} bytes")
    parser.add_argument("--bits", type=int, default=1, help="of a byte that are flipped, one after the other")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--files", default="*", metavar="PATTERN", help="of paths below the store")
    parser.add_argument("--stores", nargs="*", default=["plain", "compacted"], help="plain, compacted")
    parser.add_argument("--scenes", nargs="*", default=SCENES, choices=SCENES, metavar="SCENE", help=", ".join(SCENES))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    verdict = Verdict()
    titans_lab.sweep.POLL_SECONDS = titans_lab.sweep.SHORT_SECONDS = 0.0
    with (
        tempfile.TemporaryDirectory(prefix="damage-") as temporary,
        patch.object(os, "fsync", lambda _: None),
        patch.object(titans_lab.launch, "LocalExecutor", lambda watch: every_record.Executor()),
        patch.object(titans_lab.doctor, "machine", lambda root: []),
        patch.object(titans_lab.cli.studies, "summarise", lambda *_: None),  # as `report` says it
    ):
        benches = [make(Path(temporary) / name, name == "compacted") for name in given.stores]
        for bench in benches:
            said = bench.whole.damage + bench.whole.status.err + bench.whole.faults
            assert not said, said
            assert bench.page.exists()
            assert len(bench.swept[0]) > len(bench.lab.runs)
        for case in cases(benches, given):
            try_case(case, verdict)
        others = [play(scene, benches[0], verdict) for scene in given.scenes]
    show(verdict)
    total = sum(found["cases"] for found in verdict.named.values()) + sum(others)
    print(f"\n{total} cases, in {verdict.calls} of which all verbs were called: {len(verdict.wrong)} wrong")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
