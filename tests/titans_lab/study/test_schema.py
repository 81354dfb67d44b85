"""The JSON schema accepts the studies that the tool accepts, and refuses what an editor can see is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from titans_lab.run.config import leaves
from titans_lab.study.grammar import KEYS, study_schema
from titans_lab.study.loader import load, parse
from titans_lab.study.study import load_study

ROOT = Path(__file__).parents[3]
EXAMPLES = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "studies.md").read_text(), re.DOTALL)
TYPES = {"string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """JSON schema's rules, as far as this one uses them."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema and not any(fits(value, each, root) for each in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "type" in schema and not _is(value, schema["type"]):
        return False
    if isinstance(value, list):
        inside = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return inside and all(fits(each, schema.get("items", {}), root) for each in value)
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        others = [each for key, each in value.items() if key not in known]
        return (
            set(schema.get("required", ())) <= value.keys()
            and all(fits(value[key], known[key], root) for key in value.keys() & known.keys())
            and all(other if isinstance(other, bool) else fits(each, other, root) for each in others)
        )
    return not isinstance(value, int | float) or value >= schema.get("minimum", value)


def _is(value: Any, kind: str) -> bool:
    if kind in ("integer", "number"):
        return type(value) is int or (kind == "number" and type(value) is float)
    return isinstance(value, TYPES[kind])


def accepted(text: str) -> bool:
    schema = study_schema()
    return fits(parse(text, str).plain(), schema, schema)


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies_fit(path: Path):
    schema = study_schema()
    assert fits(load(path).plain(), schema, schema)


def test_the_examples_of_the_manual_fit():
    assert len(EXAMPLES) > 10
    assert [block for block in EXAMPLES if not accepted(block)] == []


def test_the_examples_of_the_manual_are_studies(tmp_path: Path):
    (tmp_path / "common.yaml").write_text("model: {variant: lmm}\n")
    for number, block in enumerate(EXAMPLES):
        path = tmp_path / f"example-{number}.yaml"
        path.write_text(block)
        assert not load_study(path).warnings, block


@pytest.mark.parametrize(
    "text",
    [
        "grids: {model.dim: [64]}",
        "grid: {model.dims: [64]}",
        "grid: {model.dim: 64}",
        "grid: {model.dim: []}",
        "grid: {train.lr: {logspace: [1, 2]}}",
        "base: {model: {dpeth: 3}}",
        "base: {model: {dim: wide}}",
        "base: {model: {variant: mam}}",
        "base: 3",
        "seeds: 0",
        "seeds: three",
        "hold: parameters",
        "hold: {by: dim}",
        "order: random",
        "budget: {days: 2}",
        "ablate: {momentum: false}",
        "when: {params > 1: {where: q}}",
        "studies: {a: {studies: {}}}",
    ],
)
def test_mistakes_do_not_fit(text: str):
    assert not accepted(text)


def test_every_key_of_a_study_and_of_a_run_is_there_with_words():
    schema = study_schema()
    assert list(schema["properties"]) == [key.name for key in KEYS]
    assert all(part["description"] for part in schema["properties"].values())
    for key in leaves():
        inner = schema["$defs"]["sections"]
        for name in key.split("."):
            inner = inner["properties"][name]
        assert inner["description"], key
