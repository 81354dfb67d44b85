"""Check the names of records before they become paths.

A record with a valid checksum may come from anybody, and a name in it may lead anywhere. Every name that is read from a
record, an archive or a command line therefore passes through `path_of`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from titans_lab.errors import UserError

#: One part of a path that is not hidden: the name of a run, a study, a search or any other record.
PART = "[A-Za-z0-9_-][A-Za-z0-9._-]{0,119}"
#: The number of an attempt or a trial.
NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_PART = re.compile(PART)


class ForeignName(UserError):
    """A name that must not become a path."""


def path_of(folder: Path, name: object, shape: re.Pattern[str] = _PART) -> Path:
    """Return the path of what a record, an archive or a user calls `name` below `folder`.

    Raises:
        ForeignName: `name` is not text of this `shape`, or a link on the way to the path leads out of `folder`.
    """
    if not isinstance(name, str) or not shape.fullmatch(name):
        rule = "names in the store are letters, digits, '.', '_' and '-', with no '.' in front"
        raise ForeignName(f"{name!r}: {rule if shape is _PART else f'is not the name of a file below {folder}'}")
    path = folder / name
    check_inside(folder, path)
    return path


def check_inside(folder: Path, path: Path) -> None:
    """Raise ForeignName where a link on the way from `folder` to `path`, which is below it, leads out of `folder`."""
    if not is_inside(folder, path):
        raise ForeignName(f"{path}: {leads_out(folder)}; put the file or folder itself there")


def is_inside(folder: Path, path: Path) -> bool:
    """Return whether no link on the way from `folder` to `path`, which is below it, leads out of `folder`."""
    below = [path, *path.parents][: len(path.parts) - len(folder.parts)]
    return not any(part.is_symlink() for part in below) or Path(os.path.realpath(path)).is_relative_to(
        os.path.realpath(folder)
    )


def leads_out(folder: Path) -> str:
    """Return the description of a path that leads out of `folder`."""
    return f"leads out of {folder} through a link"


def listed(folder: Path, pattern: str) -> list[Path]:
    """Return the paths in `folder` that match `pattern` and are not hidden, by name."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in `folder`, in no order. Raises OSError where it cannot be read.

    Files are left out, and so are links that lead in a circle or out of `folder`.
    """
    with os.scandir(folder) as entries:
        return [
            entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False)
            or (entry.is_symlink() and Path(entry).is_dir() and is_inside(folder, Path(entry)))
        ]
