"""Read a study file and the overrides of the command line in one pass, by the table of keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from titans_lab.errors import UserError
from titans_lab.plugins.loading import load
from titans_lab.plugins.source import find
from titans_lab.run.values import describe
from titans_lab.study.containers import Struct, read_keys
from titans_lab.study.loader import parse
from titans_lab.study.parts import block
from titans_lab.study.reading import Key, Language, Node, Problems, Reading, Setting, Shape
from titans_lab.study.shapes import Value
from titans_lab.study.space import SubSpace


@dataclass(frozen=True)
class Document:
    """The content of a study: every value has the right type and its place.

    Attributes:
        given: The setting of each key of the study that is set.
        block: The part of the study that decides its runs.
        studies: The same part of each sub-study by name.
    """

    given: Mapping[str, Setting]
    block: SubSpace
    studies: Mapping[str, SubSpace]

    def value(self, key: str, default: Any = None) -> Any:
        """Return the value of a key of the study."""
        return self.given[key].value if key in self.given else default

    def blocks(self) -> dict[str, SubSpace]:
        """Return each sub-study by name, merged into the study, or the study itself as ""."""
        return {name: inner.under(self.block) for name, inner in self.studies.items()} or {"": self.block}


def read_document(
    root: Node, path: Path, overrides: Sequence[str], keys: Sequence[Key], language: Language, problems: Problems
) -> Document:
    """Return the content of a study file with the overrides applied.

    Args:
        root: The content of the file.
        path: The file. Paths of the files that it builds on are relative to its folder.
        overrides: Texts `key=value`: a dotted key of a run, a key of the study, or an entry of one, as `grid.train.lr`.
        keys: The table of keys.
        language: The names that a study may use.
        problems: The problems, to which those of the study are added.

    Raises:
        UserError: The file is no mapping, or a file that it builds on is not YAML.
    """
    if root.value is None:
        names = ", ".join(key.name for key in keys)
        raise UserError(f"{root.place}: the file is empty; a study has the keys {names}")
    if not isinstance(root.value, dict):
        rule = "a study has keys, as in `question: ...`, with a space after each colon"
        raise UserError(f"{root.place}: the study: {describe(root.plain())}, not a mapping; {rule}")
    given = _parsed(overrides, keys, language, problems)
    parts = dict(root.value)
    for key, node in given.items():
        head, _, rest = key.removeprefix("+").partition(".")
        for row in keys:
            if row.name == head:
                parts[head] = _spliced(parts.get(head), row.shape, rest, key, node, problems)
    reading = Reading(path, problems, language, {path.resolve(): None})
    found = read_keys(parts, keys, "", reading)
    own, studies = block(found), found["studies"].value if "studies" in found else {}
    document = Document(found, own, {name: each.value for name, each in studies.items()})
    base = dict(own.base)
    for key, node in given.items():
        bare = key.removeprefix("+")
        if bare in language.leaves:
            _refuse_known(key, node, base.get(bare), problems)
            if setting := Value(language.leaves[bare]).read(node, bare, reading):
                base[bare] = setting
            for message in _hiding(bare, document):
                problems.add(node.place, bare, message)
                break
    return replace(document, block=replace(own, base=base))


def load_plugins(root: Node, path: Path, overrides: Sequence[str]) -> None:
    """Load the plugins that a study names, before its other keys are read, which may belong to the plugins.

    Values that are no names are reported later, when the keys are read.

    Raises:
        UserError: A plugin is missing, fails, or is not allowed by the user.
    """
    named = root.value.get("plugins") if isinstance(root.value, dict) else None
    for text in overrides:
        key, equals, value = text.partition("=")
        if key.removeprefix("+") == "plugins" and equals:
            named = parse(value, lambda line, text=text: f"override {text}")  # type: ignore[misc]
    nodes = named.value if named and isinstance(named.value, list) else [named] if named else []
    for node in nodes:
        if isinstance(node.value, str):
            try:
                load(find(node.value, path.parent))
            except UserError as error:
                raise UserError(f"{node.place}: plugins: {error}") from error


def _parsed(texts: Sequence[str], keys: Sequence[Key], language: Language, problems: Problems) -> dict[str, Node]:
    """Return the values of `key=value` texts by key. A new key keeps its plus."""
    whole = [key.name for key in keys if key.override in ("whole", "both")]
    entries = [key.name for key in keys if key.override in ("entry", "both")]
    given: dict[str, Node] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        node = parse(value, lambda line, text=text: f"override {text}")  # type: ignore[misc]
        bare = key.removeprefix("+")
        head, dot, _ = bare.partition(".")
        twin = next((given[name] for name in (bare, f"+{bare}") if name in given), None)
        if not equals:
            problems.add(node.place, key, "no value; write key=value")
        elif not value.strip():  # YAML's null, and far likelier a variable of the shell that is not set
            problems.add(node.place, key, f"the value is empty; write {key}=null for none, or a value")
        elif twin:
            problems.add(node.place, key, f"given twice, also as {twin.place}; keep one of them")
        elif bare in (*language.leaves, *whole) or (dot and head in entries):
            given[key] = node
        else:
            problems.add(node.place, key, language.unknown(bare, (*language.leaves, *whole)))
    return given


def _spliced(old: Node | None, shape: Shape, path: str, key: str, new: Node, problems: Problems) -> Node:
    """Return a node in which the entry at a dotted path is replaced by a new node."""
    if not path:
        _refuse_known(key, new, old, problems)
        return new
    name, rest = shape.entry(path) or (path, "")
    short = shape.short if isinstance(shape, Struct) else ""
    parts: dict[str, Node] = {}
    if old is not None:
        parts = dict(old.value) if isinstance(old.value, dict) else {short: old} if short else {}
    inner = next((each.shape for each in shape.keys if each.name == name), None) if isinstance(shape, Struct) else None
    if inner is None or (rest and inner.entry(rest) is None):
        name, rest = path, ""  # an unknown key is reported when it is read
    parts[name] = _spliced(parts.get(name), inner or shape, rest, key, new, problems)
    return Node(parts, *((old.place, old.key_place) if old is not None else (new.place, new.key_place)))


def _refuse_known(key: str, node: Node, known: Node | Setting | None, problems: Problems) -> None:
    if key.startswith("+") and known:
        problems.add(node.place, key, f"the study sets it already at {known.key_place}; write it without the plus")


def _hiding(key: str, document: Document) -> Iterator[str]:
    """Yield a message for each part of the study that overrides a value of the base."""
    for each in (document.block, *document.studies.values()):
        yield from _varied(key, each)
        for _, inner in each.when:
            yield from _varied(key, inner)
            yield from _set(key, inner)
    for each in document.studies.values():
        yield from _set(key, each)


def _varied(key: str, part: SubSpace) -> Iterator[str]:
    if key in part.grid:
        place = part.grid[key].key_place
        yield f"the grid varies it at {place}; write grid.{key}=[...] to change its values"
    for group in part.zips:
        if key in group:
            yield f"it varies at {group[key].key_place}; change that in the file"
    for level in part.ablate.get(key, ())[:1]:
        yield f"it varies at {level.place}; change that in the file"


def _set(key: str, part: SubSpace) -> Iterator[str]:
    if key in part.base:
        yield f"a part of the study sets it at {part.base[key].key_place}; change that in the file"
