"""The user's consent to plugins, by the hash of their content."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from titans_lab.errors import UserError
from titans_lab.plugins.source import Plugin


class _Consent:
    everything = False


def allow_all() -> None:
    """Allow every plugin that this process is asked for, whatever its content: the option `--allow-plugins`."""
    _Consent.everything = True


def config_file() -> Path:
    """Return the user's configuration file, which need not exist."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "titans-lab" / "config.toml"


def check_allowed(plugin: Plugin) -> None:
    """Refuse a plugin whose content the user has not allowed.

    Raises:
        UserError: Saying what would be executed and how to allow it; or the configuration file cannot be read.
    """
    if _Consent.everything or plugin.digest in _allowed_digests():
        return
    lines = sum(content.count(b"\n") for content in plugin.files.values())
    files = ", ".join(sorted(plugin.files)) if plugin.source.is_dir() else plugin.source.name
    raise UserError(
        f"{plugin.source}: the study would execute this Python code, which you have not allowed ({files}; {lines} "
        "lines). Read the code, then give --allow-plugins, "
        f'or write [plugins] allow = ["{plugin.digest}"] into {config_file()}'
    )


def _allowed_digests() -> set[str]:
    path = config_file()
    try:
        allowed = tomllib.loads(path.read_text(encoding="utf-8")).get("plugins", {}).get("allow", [])
    except FileNotFoundError:
        return set()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read as TOML: {error}; mend or remove the file") from error
    if not isinstance(allowed, list) or not all(isinstance(each, str) for each in allowed):
        raise UserError(f'{path}: plugins.allow: not a list of hashes; write allow = ["<sha256>"]')
    return set(allowed)
