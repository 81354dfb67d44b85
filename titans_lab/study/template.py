"""Write a study to start from."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from titans_lab.errors import UserError
from titans_lab.study.grammar import NAME, NAME_RULE


def write_template(name: str) -> Path:
    """Write a commented study that works unchanged, and return its path.

    Args:
        name: The name of the study, or the path of its file. `.yaml` is added if it is missing.

    Returns:
        The file.

    Raises:
        UserError: The name is invalid, the file exists, or it cannot be written.
    """
    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not NAME.fullmatch(path.stem):
        raise UserError(f"{name}: cannot name a study; use {NAME_RULE}")
    text = files("titans_lab.study").joinpath("template.yaml").read_text(encoding="utf-8").replace("{file}", str(path))
    try:
        _write_new(path, text)
    except FileExistsError as error:
        raise UserError(f"{path}: is there already; choose another name") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; name a file in a folder that exists") from error
    return path


def _write_new(path: Path, text: str) -> None:
    """Write a whole file under a name that is free, or nothing."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
