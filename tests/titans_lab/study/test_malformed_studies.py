"""Study files with mistakes: each message names the file, the line, the key and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.study.study import load_study

#: The file, the line of the mistake, the key, the remedy.
CASES: dict[str, tuple[str, int, str, str]] = {
    "empty file": ("", 1, "", "a study has the keys question, expect"),
    "only comments": ("# later\n", 1, "", "a study has the keys question, expect"),
    "a list": ("- base\n", 1, "the study", "not a mapping"),
    "a word": ("hello\n", 1, "the study", "not a mapping"),
    "tabs": ("base:\n\tmodel: 3\n", 2, "", "indent with spaces, not tabs"),
    "open bracket": ("question: q\nseeds: [1, 2\nbase: {}\n", 3, "", "brackets around this line"),
    "open quote": ('question: "q\nseeds: 1\n', 3, "", "quotes and brackets"),
    "colon in text": ("question: deeper: better?\n", 1, "", "in quotes"),
    "bad indentation": ("base:\n  model:\n    dim: 64\n   n_heads: 2\n", 4, "", "check the indentation"),
    "control character": ("question: a\nexpect: \x01\n", 2, "", "remove it"),
    "two documents": ("seeds: 1\n---\nseeds: 2\n", 3, "", "one study a file"),
    "anchor": ("base:\n  model: &m {dim: 64}\n", 2, "", "write the value out"),
    "alias": ("seeds: 1\nbase: *model\n", 2, "", "write the value out"),
    "tag": ("base: {}\nseeds: !!python/object:os.system ls\n", 2, "", "write the value without it"),
    "a tag on a key": ("seeds: 1\n!!str base: {}\n", 2, "", "write the value without it"),
    "a list as key": ("? [a, b]\n: 3\n", 1, "", "quote it if it is text"),
    "key twice": ("seeds: 1\nquestion: q\nseeds: 2\n", 3, "seeds", "keep one of them"),
    "nested key twice": ("base:\n  model:\n    dim: 64\n    dim: 32\n", 4, "dim", "keep one of them"),
    "unknown top key": ("question: q\nseed: 3\n", 2, "seed", "did you mean seeds?"),
    "no base above": ("model:\n  dim: 64\n", 1, "model", "did you mean base.model?"),
    "dotted on top": ("model.dim: 64\n", 1, "model.dim", "did you mean base.model.dim?"),
    "nothing near": (
        "zzz: 64\n",
        1,
        "zzz",
        "valid here: question, expect, effect, name, preset, base, plugins, grid, seeds",
    ),
    "question of the wrong type": ("question: 3\n", 1, "question", 'write "3"'),
    "question left open": ("expect: e\nquestion:\n", 2, "question", "not text"),
    "name climbs out": ("name: ../../etc/passwd\n", 1, "name", "at most 100 letters, digits"),
    "hidden name": ("name: .git\n", 1, "name", "no dot in front"),
    "name with markup": ("name: <b>\n", 1, "name", "at most 100 letters, digits"),
    "unknown preset": ("question: q\npreset: paper-v2\n", 2, "preset", "one of paper-v1, paper-neurips"),
    "unknown preset in a list": ("preset:\n  - 340M\n  - 34M\n", 3, "preset", "170M, 340M, 760M, 1.3B"),
    "a preset that does not fit": ("preset: 340M\nbase:\n  model: {n_heads: 3}\n", 3, "model.dim", "2 x n_heads (3)"),
    "a preset that does not fit alone": (
        "grid:\n  preset: [340M]\n  model.n_heads: [3]\n",
        3,
        "model.dim",
        "n_heads (3)",
    ),
    "unknown section": ("base:\n  modle:\n    dim: 64\n", 2, "modle", "did you mean model?"),
    "unknown nested section": ("base:\n  model:\n    memroy:\n      depth: 3\n", 3, "model.memroy", "model.memory?"),
    "unknown leaf": ("base:\n  model:\n    memory:\n      dpeth: 3\n", 4, "model.memory.dpeth", "model.memory.depth?"),
    "leaf in the wrong section": ("base:\n  model:\n    lr: 0.1\n", 3, "model.lr", "did you mean train.lr?"),
    "dotted under base": ("base:\n  model.dim: 64\n", 2, "model.dim", "nest it key by key"),
    "empty base": ("seeds: 1\nbase:\n", 2, "base", "or remove it"),
    "section is a number": ("base:\n  model: 64\n", 2, "model", "indent keys below it"),
    "leaf is a mapping": ("base:\n  model:\n    dim:\n      a: 1\n", 4, "model.dim", "not an integer"),
    "text for an integer": ('base:\n  model:\n    dim: "64"\n', 3, "model.dim", "write 64"),
    "no fault that follows from it": ("base:\n  model: {n_heads: 3, dim: '96'}\n", 2, "model.dim", "write 96"),
    "float for an integer": ("base:\n  train:\n    tokens: 4e6\n", 3, "train.tokens", "write 4000000"),
    "boolean for an integer": ("base:\n  model: {n_heads: true}\n", 2, "model.n_heads", "not an integer"),
    "yes for true": ("base:\n  model:\n    memory: {residual: yes}\n", 3, "model.memory.residual", "write true"),
    "text for a float": ("base:\n  train: {lr: 1e-4x}\n", 2, "train.lr", "not a finite number"),
    "not a number": ("base:\n  train: {lr: .nan}\n", 2, "train.lr", "not a finite number"),
    "null for an integer": ("base:\n  model:\n    dim:\n", 3, "model.dim", "not an integer"),
    "number for a path": ("base:\n  data: {path: 2024}\n", 2, "data.path", 'write "2024"'),
    "unknown choice": ("base:\n  model:\n    variant: mam\n", 3, "model.variant", "lmm, mac, mag, mal"),
    "list under base": ("base:\n  model:\n    dim: [64, 128]\n", 3, "model.dim", "belongs under grid"),
    "impossible value": ("base:\n  train:\n    batch_size: 8\n    lr: -1\n", 4, "train.lr", "not above 0"),
    "caused by another key": ("base:\n  model:\n    n_layers: 2\n    n_heads: 3\n", 4, "model.dim", "2 x n_heads (3)"),
    "caused deeper down": (
        "base:\n  model:\n    memory:\n      chunk_size: 48\n",
        4,
        "model.segment_len",
        "not a multiple",
    ),
    "impossible depth": ("base:\n  model:\n    memory:\n      depth: 0\n", 4, "model.memory.depth", "is below 1"),
    "budget below a step": ("base:\n  train:\n    tokens: 5\n", 3, "train.tokens", "less than one step"),
    "grid is a list": ("grid: [model.dim]\n", 1, "grid", "not a mapping"),
    "nested grid": ("grid:\n  model:\n    dim: [64]\n", 2, "model", "write model.dim: [...]"),
    "section in the grid": ("grid:\n  model.memory: [1]\n", 2, "model.memory", "such as model.memory.depth"),
    "unknown key in the grid": ("grid:\n  model.memroy.depth: [1]\n", 2, "model.memroy.depth", "model.memory.depth?"),
    "no section in the grid": ("grid:\n  depth: [1, 2]\n", 2, "depth", "did you mean model.memory.depth?"),
    "no list in the grid": ("grid:\n  model.dim: 64\n", 2, "model.dim", "set one under base"),
    "empty list in the grid": ("grid:\n  model.dim: []\n", 2, "model.dim", "name its values"),
    "wrong type in the grid": ("grid:\n  model.dim:\n  - 64\n  - '128'\n", 4, "model.dim", "write 128"),
    "twice in the grid": ("grid:\n  train.lr: [1,\n    1.0]\n", 3, "train.lr", "remove one"),
    "impossible in the grid": ("grid:\n  model.n_heads: [4,\n    3]\n", 3, "model.dim", "2 x n_heads (3)"),
    "in the grid, not the base": ("base: {model: {n_heads: 4}}\ngrid:\n  model.n_heads: [3]\n", 3, "model.dim", "(3)"),
    "more runs than anyone means": (
        "grid:\n  train.tokens: [50000, 60000]\nseeds: 90000\n",
        2,
        "grid",
        "split the study",
    ),
    "no seeds": ("question: q\nseeds: 0\n", 2, "seeds", "write 3 or [0, 1, 2]"),
    "a billion seeds": ("seeds: 1000000000\n", 1, "seeds", "is not a count from 1 to 100000"),
    "seed in words": ("seeds: three\n", 1, "seeds", "not an integer"),
    "negative seed": ("seeds: [0, -1]\n", 1, "seeds", "write integers from 0"),
    "seed twice": ("seeds: [0,\n  0]\n", 2, "seeds", "remove one"),
    "empty list of seeds": ("seeds: []\n", 1, "seeds", "name its values"),
}


@pytest.mark.parametrize(("text", "line", "key", "remedy"), CASES.values(), ids=CASES.keys())
def test_a_mistake_is_named_with_its_place_and_remedy(
    tmp_path: Path, text: str, line: int, key: str, remedy: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_study(path)
    [message] = str(caught.value).splitlines()
    assert message.startswith(f"{path}:{line}: {key}")
    assert remedy in message


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("seed: 1\nbase:\n  model: {dim: x}\n  trian: {lr: 1}\ngrid:\n  train.lr: []\n")
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert sorted(line.removeprefix(f"{path}:")[0] for line in str(caught.value).splitlines()) == ["1", "3", "4", "6"]


def test_values_that_two_sections_refuse_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("base:\n  model: {n_heads: 3}\n  train: {lr: -1}\n")
    with pytest.raises(UserError, match=r"x\.yaml:2: model\.dim: .*\n.*x\.yaml:3: train\.lr: "):
        load_study(path)


def test_an_impossible_combination_is_named_with_its_values(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("grid:\n  model.n_heads: [4, 3]\n  train.lr: [1e-3, 1e-4]\n")
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert str(caught.value).endswith("(with model.n_heads=3, train.lr=0.001 and 1 more)")


def test_a_flood_of_mistakes_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("".join(f"key{number}: 1\n" for number in range(500)))
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert str(caught.value).splitlines()[20:] == ["and 480 more problems"]


def test_a_file_name_that_cannot_name_a_study_asks_for_a_name(tmp_path: Path) -> None:
    path = tmp_path / "my study.yaml"
    path.write_text("question: q\n")
    with pytest.raises(UserError, match=r'my study\.yaml: name: "my study" cannot name a file'):
        load_study(path)


def test_bases_that_include_each_other_are_named_with_the_line_that_closes_the_circle(tmp_path: Path) -> None:
    path, other = tmp_path / "x.yaml", tmp_path / "y.yaml"
    path.write_text("question: q\nbase: y.yaml\n")
    other.write_text("question: q\nexpect: e\nbase: x.yaml\n")
    with pytest.raises(UserError) as caught:
        load_study(path)
    [message] = str(caught.value).splitlines()
    assert message == f"{other}:3: base: {path} builds on itself; give one of these files a base of its own"


def test_a_file_that_many_bases_name_is_read_once(tmp_path: Path) -> None:
    for number in range(30):
        names = ", ".join([f"{number + 1}.yaml"] * 4)
        (tmp_path / f"{number}.yaml").write_text(f"base: [{names}]\n")  # 4^30 ways lead to the last
    (tmp_path / "30.yaml").write_text("model: {dim: 32}\n")
    study = load_study(tmp_path / "0.yaml")
    assert [run.config.model.dim for run in study.runs(lambda _: "0" * 64)] == [32]


def test_a_study_builds_on_a_hundred_files_at_most(tmp_path: Path) -> None:
    for number in range(101):
        (tmp_path / f"s{number}.yaml").write_text(f"base: s{number + 1}.yaml\n")
    with pytest.raises(UserError, match=r"s99\.yaml:1: base: more than 100 files; put what they say into fewer"):
        load_study(tmp_path / "s0.yaml")
