"""`key=value` texts of the command line, in the place of what a study file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from titans_lab.study.fields import LEAVES
from titans_lab.study.loader import Node, parse
from titans_lab.study.outline import KEYS, TEXTS, Block, Outline, Problems, unknown

#: Keys of a study that an override replaces as a whole.
WHOLE = tuple(key for key in KEYS if key not in (*TEXTS, "base", "grid", "studies", "when"))
#: Keys of whose entries it replaces one, as in `grid.train.lr=[1e-3]`, and the entry that a bare value stands for.
BY_ENTRY = {"grid": "", "ablate": "", "hold": "what", "budget": "", "metric": "name", "search": ""}


def parse_overrides(texts: Sequence[str], problems: Problems) -> dict[str, Node]:
    """The values of `key=value` texts by key; one of a new key keeps its plus."""
    given: dict[str, Node] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        node = parse(value, lambda line, text=text: f"override {text}")  # type: ignore[misc]
        bare = key.removeprefix("+")
        twin = next((given[name] for name in (bare, f"+{bare}") if name in given), None)
        if not equals:
            problems.add(node.place, key, "no value; write key=value")
        elif twin:
            problems.add(node.place, key, f"given twice, also as {twin.place}; keep one of them")
        elif bare in (*LEAVES, *WHOLE) or bare.partition(".")[0] in BY_ENTRY:
            given[key] = node
        else:
            problems.add(node.place, key, unknown(key, (*LEAVES, *WHOLE)))
    return given


def replaced(root: Node, overrides: Mapping[str, Node], problems: Problems) -> Node:
    """The study file with what the overrides say of the study as a whole."""
    if not isinstance(root.value, dict):
        return root
    entries = dict(root.value)
    for key, node in overrides.items():
        head, _, entry = key.removeprefix("+").partition(".")
        if head not in WHOLE and head not in BY_ENTRY:
            continue
        old = entries.get(head, node)
        parts = old.value if isinstance(old.value, dict) else {BY_ENTRY[head]: old} if entry and BY_ENTRY[head] else {}
        _refuse_known(key, node, parts.get(entry) if entry else entries.get(head), problems)
        entries[head] = replace(old, value={**parts, entry: node}) if entry else node
    return replace(root, value=entries)


def put(study: Outline, overrides: Mapping[str, Node], problems: Problems) -> None:
    """Values of runs take the place of those of the base; where something hides the base's, that is a problem."""
    for key, node in overrides.items():
        bare = key.removeprefix("+")
        if bare in LEAVES:
            _refuse_known(key, node, study.block.base.get(bare), problems)
            study.block.base[bare] = node
            for message in _hidden(bare, study):
                problems.add(node.place, bare, message)
                break


def _refuse_known(key: str, node: Node, known: Node | None, problems: Problems) -> None:
    if key.startswith("+") and known:
        problems.add(node.place, key, f"the study sets it already at {known.key_place}; write it without the plus")


def _hidden(key: str, study: Outline) -> Iterator[str]:
    """What stands above a value of the base, in words."""
    blocks = [study.block, *(block for _, block in study.studies.values())]
    for block in blocks:
        yield from _varied(key, block)
        for _, inner in block.when:
            yield from _varied(key, inner)
            yield from _set(key, inner)
    for block in blocks[1:]:
        yield from _set(key, block)


def _varied(key: str, block: Block) -> Iterator[str]:
    if key in block.grid:
        place = block.grid[key].key_place
        yield f"the grid varies it at {place}; write grid.{key}=[...] to change its values"
    for axis in (*block.zips, block.ablate):
        if key in axis:
            yield f"it varies at {axis[key].key_place}; change that in the file"


def _set(key: str, block: Block) -> Iterator[str]:
    if key in block.base:
        yield f"a part of the study sets it at {block.base[key].key_place}; change that in the file"
