from __future__ import annotations

import math
from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.study.loader import load, parse, resolve
from titans_lab.study.study import load_study


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("4E6", 4e6),
        (".5", 0.5),
        ("-3.", -3.0),
        ("12", 12),
        ("-7", -7),
        ("010", 10),
        ("1_000_000", 1_000_000),
        ("-.inf", -math.inf),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("off", "off"),
        ("True", "True"),
        ("NULL", "NULL"),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_", "1_"),
        ("e5", "e5"),
        ("٣", "٣"),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(resolve(".nan"))


def test_an_integer_beyond_64_bits_is_no_integer() -> None:
    assert isinstance(resolve("9" * 30), float)


def test_quoted_and_block_scalars_are_text() -> None:
    node = parse("a: '1'\nb: \"true\"\nc: |\n  2\n", str)
    assert node.plain() == {"a": "1", "b": "true", "c": "2\n"}


def test_every_key_and_value_knows_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("# a comment\nbase:\n  model:\n    dim: 3\ngrid: [1,\n  2]\n")
    base, grid = load(path).value.values()
    dim = base.value["model"].value["dim"]
    assert (base.key_place, base.place) == (f"{path}:2", f"{path}:3")
    assert dim.key_place == dim.place == f"{path}:4"
    assert [item.place for item in grid.value] == [f"{path}:5", f"{path}:6"]


def test_a_missing_file_is_answered_with_near_ones(tmp_path: Path) -> None:
    (tmp_path / "depth.yaml").touch()
    with pytest.raises(UserError, match=r"dept\.yaml: no such file; did you mean .*/depth\.yaml\?"):
        load(tmp_path / "dept.yaml")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a directory; name a study file"):
        load(tmp_path)


def test_a_file_that_is_not_utf8_is_refused_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"seeds: 3\nquestion: d\xe9pth\n")
    with pytest.raises(UserError, match=r"x\.yaml:2: byte 0xe9 is not UTF-8; save the file as UTF-8"):
        load(path)


def test_a_bomb_of_nested_lists_is_refused_before_it_costs_anything() -> None:
    with pytest.raises(UserError, match="nested more than 20 deep"):
        parse("[" * 100_000, lambda line: f"x:{line + 1}")


@pytest.mark.parametrize("change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n")], ids=["BOM", "CRLF"])
def test_files_of_other_systems_are_read_alike(tmp_path: Path, change):
    text = "question: q\nbase:\n  model: {dim: 64}\nexpect: |\n  one\n  two\n"
    paths = tmp_path / "plain.yaml", tmp_path / "other.yaml"
    for path, content in zip(paths, (text, change(text)), strict=True):
        path.write_bytes(content.encode())
    assert load(paths[0]).plain() == load(paths[1]).plain()
    assert load(paths[1]).value["base"].place == f"{paths[1]}:3"


def test_a_file_with_more_mistakes_than_anyone_reads_is_given_up_early(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text("".join(f"key{number}: 1\n" for number in range(5000)))
    with pytest.raises(UserError, match="and at least 980 more problems"):
        load_study(path)
