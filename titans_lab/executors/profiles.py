"""Profiles: what a user asks of a cluster, from the user's configuration file and the command line.

Shell lines can stand in a profile. So profiles come from the user alone, and never from a study or a store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from titans_lab.durations import parse_duration
from titans_lab.errors import UserError, listed, nearest
from titans_lab.preferences import config_file, read_config

DEFAULT = "default"

T = TypeVar("T")


class Seconds(float):
    """A number of seconds that a profile writes as a duration, such as 2h."""


def read_profile(kind: type[T], engine: str, name: str | None, given: Sequence[str]) -> T:
    """Return a profile of an engine.

    Args:
        kind: The profile's dataclass. Its fields are whole numbers, numbers, `Seconds`, texts, or tuples of texts.
        engine: The section of the configuration file, whose tables are profiles: [slurm.default], [slurm.a100].
        name: The profile's name. None: `default`, which need not exist.
        given: `KEY=VALUE` from the command line, which override the file. A list gets every value that is given.

    Raises:
        UserError: There is no such profile or key, or a value is of another type.
    """
    profiles = read_config(engine)
    if name is not None and name not in profiles:
        known = f"it has {listed(sorted(profiles))}" if profiles else "it has none"
        raise UserError(f"--profile {name}: no [{engine}.{name}] in {config_file()}; {known}")
    table = profiles.get(name or DEFAULT, {})
    where = f"{config_file()}: [{engine}.{name or DEFAULT}]"
    if not isinstance(table, dict):
        raise UserError(f"{where}: not a TOML table; write [{engine}.NAME] and its keys below")
    written = {key: _value(kind, key, value, f"{where} {key}") for key, value in table.items()}
    return kind(**written | _given(kind, given))


def _given(kind: type[Any], given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in given:
        key, equals, text = each.partition("=")
        if not equals:
            raise UserError(f"--set {each}: write KEY=VALUE, such as time=2h")
        value = _value(kind, key, text, f"--set {each}", from_text=True)
        found[key] = found.get(key, ()) + value if isinstance(value, tuple) else value
    return found


def _value(kind: type[Any], key: str, value: Any, where: str, from_text: bool = False) -> Any:
    """Return a value of the type that its field has. Raise UserError where it is none."""
    hints: Mapping[str, Any] = {field.name: get_type_hints(kind)[field.name] for field in fields(kind)}
    if key not in hints:
        raise UserError(f"{where}: no such key; {nearest(key, list(hints))}")
    hint = hints[key]
    if hint == tuple[str, ...]:
        lines = [value] if isinstance(value, str) else value
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise UserError(f'{where}: not a list of texts; write {key} = ["...", "..."]')
        return tuple(lines)
    if hint is Seconds:
        try:
            return Seconds(parse_duration(value if isinstance(value, str) else str(value)))
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error
    if hint is float:
        try:
            return _number(value if from_text or not isinstance(value, str) else "")
        except (TypeError, ValueError):
            raise UserError(f"{where}: not a number of at least 0") from None
    if hint is int:
        if from_text and str(value).isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{where}: not a whole number of at least 1")
        return value
    if not isinstance(value, str) or "\n" in value:
        raise UserError(f'{where}: not a line of text; write {key} = "..."')
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not 0 <= float(value) < 1e6:
        raise ValueError
    return float(value)
