"""Read and hash the files of a plugin before any of them is executed."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

from titans_lab.errors import UserError, near
from titans_lab.input import open_regular

GROUP = "titans_lab.plugins"  # the group of entry points
PACKAGE = "titans_plugins"  # the package below which the modules of plugins are imported
MOST_BYTES = 5_000_000  # the largest size of all files of a plugin


@dataclass(frozen=True)
class Plugin:
    """A plugin as it was read.

    Attributes:
        name: The name in studies and records: the file's stem, the folder's name, or the entry point's name.
        source: The path of the file or folder.
        files: The content of each Python file by its path relative to the plugin: "__init__.py", "layer.py". Tests,
            files named `test_*.py`, are not part of a plugin.
    """

    name: str
    source: Path
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def digest(self) -> str:
        """Return the SHA-256, in hex, of the names and contents of all files."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    @property
    def module(self) -> str:
        """Return the name that its module is imported by."""
        return f"{PACKAGE}.{self.name}"

    def path_of(self, file: str) -> Path:
        """Return where one of its files was read, which a traceback shows."""
        return self.source / file if self.source.is_dir() else self.source


def find(reference: str, beside: Path) -> Plugin:
    """Read the files of a plugin; nothing is executed.

    Args:
        reference: A path to a file or folder, or the name of an entry point.
        beside: The folder that a relative path starts from.

    Raises:
        UserError: There is no such plugin, or its files cannot be read.
    """
    path = (beside / Path(reference).expanduser()).absolute()
    if path.is_dir():
        if not (path / "__init__.py").is_file():  # first: below a folder that is not a plugin there may be a whole disk
            raise UserError(f"{path}: a folder without __init__.py is not a plugin; add that file with a specification")
        modules = [file for file in sorted(path.rglob("*.py")) if not file.name.startswith("test_")]
        return _read(path.name, path, {file.relative_to(path).as_posix(): file for file in modules})
    if path.is_file():
        return _read(path.stem, path, {"__init__.py": path})
    installed = {found.name: found for found in entry_points(group=GROUP)}
    if reference not in installed:
        hint = f"; did you mean {close[0]}?" if (close := near(reference, installed)) else ""
        raise UserError(
            f"{reference}: no such file or folder ({path}), and no installed package offers a plugin of this name{hint}"
        )
    found = find(str(_location(installed[reference].module)), beside)
    return Plugin(reference, found.source, found.files)


def _location(module: str) -> Path:
    """Return the file or folder of an installed module, found without importing anything."""
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top)  # imports nothing, since the name has no dot
    if spec is None or spec.origin is None:
        raise UserError(f"{module}: the module of this entry point is not installed")
    if not spec.submodule_search_locations:
        return Path(spec.origin)
    folder = Path(spec.origin).parent.joinpath(*inner)
    return folder if folder.is_dir() else folder.with_suffix(".py")


def _read(name: str, source: Path, files: Mapping[str, Path]) -> Plugin:
    if not name.isidentifier():
        raise UserError(f"{source}: {name!r} cannot name a plugin; use letters, digits and underscores")
    contents: dict[str, bytes] = {}
    for file, path in files.items():
        try:
            with open_regular(path) as opened:
                contents[file] = opened.read(MOST_BYTES + 1)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        if sum(map(len, contents.values())) > MOST_BYTES:
            raise UserError(f"{source}: more than {MOST_BYTES} bytes of Python; name the plugin's own folder")
    return Plugin(name, source, contents)
