"""Export a store, or some of its runs, as one archive, and import it again.

An archive is a gzipped tar file. Its first member, `contents.json`, has the size and SHA-256 of each other member,
whose name is a path below a store. Nothing is imported before the whole archive has been checked. An import replaces
nothing but runs without a result.
"""

from __future__ import annotations

import hashlib
import io
import re
import secrets
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from titans_lab.errors import UserError
from titans_lab.output import output_file
from titans_lab.store.check import faults
from titans_lab.store.checkpoints import CHECKPOINT
from titans_lab.store.files import DamagedError, json_bytes, link_new, read_bytes, temporary_file
from titans_lab.store.folder import RunFolder
from titans_lab.store.names import NUMBER, PART, is_inside
from titans_lab.store.records import read_contents, read_search
from titans_lab.store.searches import SearchFolder
from titans_lab.store.store import Store
from titans_lab.store.weights import check_weights

CONTENTS = "contents.json"
FORM = 1
MOST_CONTENTS = 100_000_000  # bytes of the largest list of contents
LONGEST_NAME = 1024  # bytes
#: The records that are exported. Claims and requests to stop are left out, because they have a meaning only on their
#: machine.
_RECORD = re.compile(
    rf"(?:studies|ngram_baselines|benches)/{PART}\.json|searches/{PART}/(?:search|finalists|trials/{NUMBER})\.json"
    rf"|runs/{PART}/(?:run\.json|status\.json|evals/{PART}\.json|attempts/{NUMBER}/(?:"
    rf"(?:env|status|archived)\.json|[a-z_]+\.(?:jsonl|parquet)|(?:weights|state)\.pt|{CHECKPOINT}"
    rf"|log\.txt|profile\.txt|trace\.json\.gz|evals/{PART}\.json))"
)

_WEIGHTS = re.compile(rf"/(?:weights\.pt|{CHECKPOINT})$")


class _Plain(tarfile.TarInfo):
    """A header as `export` writes it: for a file, or for a name that is too long for its file's header.

    Headers of other kinds are refused: the sizes in them would decide how much memory and disk is used before any
    check.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the header in a block. Raise ReadError where it is of another kind."""
        header = super().frombuf(buf, encoding, errors)
        is_name = header.type == tarfile.GNUTYPE_LONGNAME and 0 <= header.size <= LONGEST_NAME
        if not is_name and header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise tarfile.ReadError(f"{header.name!r} is not a plain file")
        return header


@dataclass
class Imported:
    """The result of an import for each record, by path below the store.

    Attributes:
        added: Records that were missing, or runs that had no result.
        same: Records that the store has already.
        conflicts: Records of which the store has a different one, which stays.
        refused: Records that are damaged, with the reason. They were left out.
        orphans: The ids of added runs, each with that of its parent, whose weights are nowhere.
    """

    added: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    orphans: list[tuple[str, str]] = field(default_factory=list)


def export(store: Store, runs: Sequence[str], studies: Sequence[str] | None, path: Path, weights: bool = True) -> int:
    """Write runs, studies and all measurements to an archive, and return the number of files.

    Args:
        store: The store.
        runs: The ids of the runs.
        studies: The names of the studies. None: all.
        path: The archive.
        weights: Whether to include the trained models and checkpoints.

    Raises:
        UserError: The archive cannot be written.
    """
    files = [file for run_id in runs for file in sorted(store.run(run_id).path.rglob("*"))]
    files += [file for file in store.study_paths() if studies is None or file.stem in studies]
    files += [*store.ngram_baseline_paths(), *store.bench_paths()]
    files += [file for search in store.searches() for file in _of_search(search, studies)]
    names = {
        name: file
        for file in files
        if _RECORD.fullmatch(name := file.relative_to(store.root).as_posix())
        and (weights or not _WEIGHTS.search(name))
        and file.is_file()
        and is_inside(store.root, file)
    }
    described = {name: _digest(file) for name, file in names.items()}
    with (
        output_file(path) as output,
        tarfile.open(fileobj=output, mode="w:gz", compresslevel=6, format=tarfile.GNU_FORMAT) as archive,
    ):
        _add(archive, CONTENTS, io.BytesIO(content := json_bytes({"form": FORM, "files": described})), len(content))
        for name, file in names.items():
            with file.open("rb") as stream:
                _add(archive, name, stream, described[name]["bytes"])
    return len(names)


def bring(store: Store, path: Path) -> Imported:
    """Import an archive into a store.

    Raises:
        UserError: The file is not an archive, is damaged, or holds a path outside of a store; or the store's file
            system has no hard links.
    """
    found = Imported()
    store.root.mkdir(parents=True, exist_ok=True)
    _check_links(store.root)
    with _unpacked(store, path) as staged:
        _refuse(staged, found)
        for run in staged.folders():
            _bring_run(store, run, found)
        for search in staged.searches():
            _bring_search(store, search, found)
        for kind in ("studies", "ngram_baselines", "benches"):
            for file in sorted((staged.root / kind).glob("*.json")):
                _bring_file(store, file, file.relative_to(staged.root).as_posix(), found)
    found.orphans += _orphans(store, found.added)
    return found


def _orphans(store: Store, added: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each added run whose parent's weights the store does not have, and that parent."""
    for run_id in (name.removeprefix("runs/") for name in added if re.fullmatch(f"runs/{PART}", name)):
        parent = _parent(store.run(run_id))
        try:
            if parent:
                check_weights(store.run(parent))
        except UserError:
            yield run_id, parent


def _parent(run: RunFolder) -> str:
    """Return the id of a run's parent, or "" where it has none, or only another version can read its record."""
    try:
        return str(run.record().get("parent") or "")
    except DamagedError:
        return ""


def _check_links(root: Path) -> None:
    """Raise UserError where the file system of a store has no hard links, before a record lands there."""
    path = root / f".import-{secrets.token_hex(4)}"
    try:
        with temporary_file(path, b"") as temporary:
            link_new(temporary, path)
    finally:
        path.unlink(missing_ok=True)


def _of_search(search: SearchFolder, studies: Sequence[str] | None) -> list[Path]:
    """Return the records of a search if its study is wanted, or if its study cannot be read."""
    with suppress(DamagedError, FileNotFoundError):
        if studies is not None and read_search(search.definition_path)["study"] not in studies:
            return []
    files = [search.definition_path, search.finalists_path, *search.trial_paths()]
    return [file for file in files if file.exists()]


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _add(archive: tarfile.TarFile, name: str, stream: Any, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    archive.addfile(member, stream)


@contextmanager
def _unpacked(store: Store, path: Path) -> Iterator[Store]:
    """Unpack the archive as a store in a temporary folder of the real one."""
    folder = store.root / f".import-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        with _opened(path) as stream, tarfile.open(fileobj=stream, mode="r|gz", tarinfo=_Plain) as archive:
            _unpack(archive, folder, path)
        yield Store(folder)
    except (tarfile.TarError, EOFError, zlib.error, RecursionError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise UserError(f"{path}: is not an archive of titans-lab, or is cut off ({error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name an archive of titans-lab export") from error


def _unpack(archive: tarfile.TarFile, folder: Path, path: Path) -> None:
    """Write the members that the list of contents names, each checked. Refuse any other."""
    members = iter(archive)
    expected = _contents(archive, next(members, None), folder, path)
    for member in members:
        stream = archive.extractfile(member) if member.isreg() else None
        if stream is None or member.name not in expected:
            raise UserError(f"{path}: {member.name!r} is not in its list of contents; nothing was imported")
        digest = expected.pop(member.name)
        if digest["bytes"] != member.size:  # checked first, so that no disk is filled
            raise UserError(f"{path}: {member.name} is not what was exported (its size differs)")
        place = folder / member.name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            shutil.copyfileobj(stream, file)
        if _digest(place) != digest:
            raise UserError(f"{path}: {member.name} is not what was exported (size or SHA-256 differ)")
    if expected:
        raise UserError(f"{path}: {next(iter(expected))} is missing; nothing was imported")


def _contents(archive: tarfile.TarFile, first: tarfile.TarInfo | None, folder: Path, path: Path) -> dict[str, Any]:
    """Return the list of contents, which comes first."""
    stream = archive.extractfile(first) if first and first.isreg() and first.size < MOST_CONTENTS else None
    if first is None or stream is None or first.name != CONTENTS:
        raise UserError(f"{path}: does not begin with {CONTENTS}, so it is not an archive of titans-lab export")
    (folder / CONTENTS).write_bytes(stream.read())
    try:
        contents = read_contents(folder / CONTENTS)
    except DamagedError as error:
        what = f"its {CONTENTS} {error.damage.reason}"
        raise UserError(f"{path}: {what}; export the store again with this version of titans-lab") from error
    if contents["form"] != FORM:
        raise UserError(f"{path}: was written by another version of titans-lab; export it with this one")
    files: dict[str, Any] = contents["files"]
    for name in files:
        if not _RECORD.fullmatch(name):
            raise UserError(f"{path}: {name!r} is not a path of a store; nothing was imported")
    needed, free = sum(digest["bytes"] for digest in files.values()), shutil.disk_usage(folder).free
    if needed > free:
        gigabytes = f"needs {needed / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free"
        raise UserError(f"{path}: {gigabytes} in {folder.parent}; make room, or name another store with --store")
    return files


def _refuse(staged: Store, found: Imported) -> None:
    """Take the runs, searches and other records that are not sound out of an unpacked archive."""
    bare = [run.run_id for run in staged.folders() if not run.record_path.exists()]
    unsound = {f"runs/{run_id}": f"runs/{run_id}/run.json: is missing" for run_id in bare}
    for fault in faults(staged):
        path = fault.damage.path.relative_to(staged.root)
        if fault.movable or path.name == "search.json":
            unsound.setdefault("/".join(path.parts[:2]), f"{path}: {fault.damage.reason}")
    found.refused += unsound.values()
    if unsound:
        staged.set_aside([staged.root / name for name in unsound], "refused")


def _bring_run(store: Store, staged: RunFolder, found: Imported) -> None:
    """Add a run that the store lacks or has without a result; of a run with the same result, add its evaluations."""
    here, name = store.run(staged.run_id), f"runs/{staged.run_id}"
    if here.path.exists() and not staged.status_path.exists():
        found.same.append(name)  # an attempt without a result adds nothing
    elif here.status_path.exists():
        (found.same if _same_result(here, staged) else found.conflicts).append(name)
        if _same_result(here, staged):
            _bring_evaluations(here, staged, found)
    elif here.state() == "running":
        found.conflicts.append(name)
    else:
        if here.path.exists():
            store.set_aside([here.path], "trash")
        here.path.parent.mkdir(exist_ok=True)
        staged.path.rename(here.path)
        found.added.append(name)


def _same_result(here: RunFolder, staged: RunFolder) -> bool:
    try:
        return read_bytes(here.status_path) == read_bytes(staged.status_path)
    except (DamagedError, FileNotFoundError):
        return False


def _bring_evaluations(here: RunFolder, staged: RunFolder, found: Imported) -> None:
    for file in staged.evaluation_paths():
        place = here.evaluation_path(file.stem)
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            file.rename(place)
            found.added.append(f"runs/{here.run_id}/evals/{file.name}")


def _bring_search(store: Store, staged: SearchFolder, found: Imported) -> None:
    """Add a search that the store lacks."""
    place, name = store.root / "searches" / staged.name, f"searches/{staged.name}"
    if place.exists():
        same = SearchFolder(place).trials() == staged.trials()
        (found.same if same else found.conflicts).append(name)
        return
    place.parent.mkdir(exist_ok=True)
    staged.path.rename(place)
    found.added.append(name)


def _bring_file(store: Store, file: Path, name: str, found: Imported) -> None:
    place = store.root / name
    place.parent.mkdir(exist_ok=True)
    if link_new(file, place):
        found.added.append(name)
    else:
        (found.same if place.read_bytes() == file.read_bytes() else found.conflicts).append(name)
