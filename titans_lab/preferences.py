"""The user's configuration file, which may allow plugins and describe clusters."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError


def config_file() -> Path:
    """Return the user's configuration file, which need not exist."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "titans-lab" / "config.toml"


def read_config(section: str) -> dict[str, Any]:
    """Return a section of the user's configuration file, which is empty where there is none.

    Raises:
        UserError: The file cannot be read, or the section is not a table.
    """
    path = config_file()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get(section, {})
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: cannot be read as TOML: {error}; mend or remove the file") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: {section}: not a TOML table; write [{section}]")
    return found
