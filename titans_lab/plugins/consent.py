"""The user's consent to plugins, by the hash of their content."""

from __future__ import annotations

from titans_lab.errors import UserError
from titans_lab.plugins.source import Plugin
from titans_lab.preferences import config_file, read_config


class _Consent:
    everything = False


def allow_all() -> None:
    """Allow every plugin that this process is asked for, whatever its content: the option `--allow-plugins`."""
    _Consent.everything = True


def allows_all() -> bool:
    """Return whether every plugin is allowed."""
    return _Consent.everything


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
    allowed = read_config("plugins").get("allow", [])
    if not isinstance(allowed, list) or not all(isinstance(each, str) for each in allowed):
        raise UserError(f'{config_file()}: plugins.allow: not a list of hashes; write allow = ["<sha256>"]')
    return set(allowed)
