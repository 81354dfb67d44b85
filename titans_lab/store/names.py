"""Names of files that users choose, and lists of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from titans_lab.errors import UserError

_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,120}")


def listed(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def folders_in(folder: Path) -> list[str]:
    """Names of the folders there, in no order; links that lead in a circle, and files, are none. Raises OSError."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) or Path(entry).is_dir()]


def checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r}: names in the store are letters, digits, '.', '_' and '-', with no '.' in front")
    return name
