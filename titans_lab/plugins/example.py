"""A plugin to start from: `titans-lab new --plugin`."""

from __future__ import annotations

import os
import shutil
from importlib.resources import files
from pathlib import Path

import titans.mixers.registry as mixers
from titans_lab.errors import UserError

EXAMPLE = "example_plugin"


def write_example(name: str) -> Path:
    """Write a commented plugin that works as it is: a folder with a specification, a layer and their tests.

    Args:
        name: The name of the folder, which is the mixer's too, or its path.

    Raises:
        UserError: The name cannot be a mixer's, is taken, or the folder cannot be written.
    """
    folder = Path(name)
    if not folder.name.isidentifier() or not folder.name.islower():
        raise UserError(f"{name}: cannot name a plugin; use small letters, digits and underscores")
    if folder.name in mixers.variants():
        raise UserError(f"{name}: is a mixer already; choose another name")
    if folder.exists():
        raise UserError(f"{folder}: is there already; choose another name")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        partial.mkdir()
        for file in files(f"titans_lab.{EXAMPLE}").iterdir():
            if file.name.endswith(".py"):
                text = file.read_text(encoding="utf-8").replace(EXAMPLE, folder.name)
                partial.joinpath(file.name.replace(EXAMPLE, folder.name)).write_text(text, encoding="utf-8")
        partial.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}; name a folder in one that exists") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
