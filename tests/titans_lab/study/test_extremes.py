"""Every field at the ends of what its type can hold: refused with file and line, or planned at once."""

from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import get_args

import pytest
from variants import of_variant

from titans_lab.errors import UserError
from titans_lab.run.config import leaves
from titans_lab.run.derived import costs
from titans_lab.study.study import load_study

ENDS = {int: ("-1", "0", "999999999999999999"), float: ("-1e308", "-0.0", "1e-308", "1e308")}
KINDS = ("mac", "lmm", "mamba2", "samba")  # with all that a model may read
HELD = [key for key, leaf in leaves().items() if {int, float} & {leaf.hint, *get_args(leaf.hint)}]


def written(key: str, value: str, variant: str) -> str:
    """A study that sets a key in its last line, after what makes a run read it."""
    *sections, name = key.split(".")
    task = sections[1] if sections[0] == "task" else "text"
    nested = "".join(f"{{{section}: " for section in sections) + f"{{{name}: {value}}}" + "}" * len(sections)
    return (
        f"base:\n- model: {{variant: {variant}, n_layers: {of_variant(variant).n_layers}, vocab_size: 20000}}\n"
        f"- task: {{name: {task}}}\n- {nested}\n"
    )


def refusal(path: Path) -> str:
    """What is wrong with a study; nothing, where its costs can be told."""
    try:
        for point in load_study(path).points:
            costs(point.config)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("key", HELD)
def test_an_extreme_value_is_refused_with_its_place_or_costs_nothing_to_plan(key: str, tmp_path: Path):
    path = tmp_path / "x.yaml"
    hints = {leaves()[key].hint, *get_args(leaves()[key].hint)}
    for variant in KINDS if key.startswith("model.") else ("lmm",):
        for value in (value for hint in hints & ENDS.keys() for value in ENDS[hint]):
            path.write_text(written(key, value, variant))
            begin = process_time()
            assert all(line.startswith(f"{path}:") for line in refusal(path).splitlines())
            assert process_time() - begin < 2


@pytest.mark.parametrize(
    ("one", "other"), [("\u00e9", "e\u0301"), ("a", "a "), ("a", "\uff41"), ("fi", "\ufb01"), ("K", "\u212a")]
)
def test_two_arms_whose_names_look_the_same_are_refused(tmp_path: Path, one: str, other: str):
    path = tmp_path / "s.yaml"
    path.write_text(f'ablate:\n  "{one}": {{model.dim: 32}}\n  "{other}": {{model.dim: 64}}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"s\.yaml:3: ablate.*: a second arm .*; give it another name"):
        load_study(path)
