"""Write a finished run as a folder that transformers loads."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging

from titans.hf import TitansForCausalLM
from titans_lab.errors import UserError
from titans_lab.evaluation.trained import load_run
from titans_lab.huggingface.card import card
from titans_lab.huggingface.tokenizer import as_library
from titans_lab.store.store import Store

#: The module in a folder by which programs that cannot import titans.hf first, such as lm-eval's, load it.
MODULE = "titans_hf"
_CODE = '''"""Loads this folder with trust_remote_code=True. It needs the package titans: see README.md."""

from titans.hf import TitansConfig, TitansForCausalLM

__all__ = ["TitansConfig", "TitansForCausalLM"]
'''


def write(store: Store, run: str, folder: Path) -> list[str]:
    """Do what `titans_lab.huggingface.export` says. The folder is written in full or not at all."""
    trained = load_run(store, run)
    tokenizer = as_library(trained.tokenizer)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already and not empty; name a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            made = Path(scratch) / "made"
            end = trained.tokenizer.end
            with _no_progress_bar():
                TitansForCausalLM.of(trained.model, eos_token_id=end, pad_token_id=end).save_pretrained(made)
            tokenizer.save_pretrained(made)
            _add_code(made)
            (made / "README.md").write_text(card(store, trained), encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            shutil.move(made, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); name another folder") from error
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from printing progress bars, for a while."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _add_code(folder: Path) -> None:
    """Add the module and its entry in the configuration."""
    (folder / f"{MODULE}.py").write_text(_CODE)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    classes = {"AutoConfig": "TitansConfig", "AutoModelForCausalLM": "TitansForCausalLM"}
    config["auto_map"] = {auto: f"{MODULE}.{name}" for auto, name in classes.items()}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
