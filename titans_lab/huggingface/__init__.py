"""Folders for Hugging Face's transformers: a run's weights, configuration, tokenizer and model card."""

from __future__ import annotations

from pathlib import Path

from titans_lab.errors import UserError, install
from titans_lab.store.store import Store


def export(store: Store, run: str, folder: Path) -> list[str]:
    """Write the finished run whose id begins with `run` into a new folder, and return the names of the files.

    Raises:
        UserError: transformers is not installed, the run has no weights or reads no text, or the folder is not empty
            or cannot be written. Then nothing is written.
    """
    try:
        from titans_lab.huggingface.folder import write
    except ImportError as error:
        raise UserError(f"--to hf: needs the package `{error.name}`: {install('hf')}") from error
    return write(store, run, folder)
