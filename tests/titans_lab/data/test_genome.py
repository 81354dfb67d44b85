from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from draws import generator
from shared_data import shared

from titans_lab.data.genome import genome_digest, load_genome
from titans_lab.errors import UserError
from titans_lab.run.config import DataConfig

LINES = ["ACGT,a", "CCGTA,b", "TTTT,a"]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def make(name: str, lines: list[str], header: str = "sequence,label") -> str:
        (tmp_path / name).write_text("\n".join((header, *lines)) + "\n")
        return str(tmp_path / name)

    return make


@pytest.fixture
def three(write: Any) -> Any:
    """Three files, of which some are others."""

    def make(**others: list[str]) -> DataConfig:
        lines = {"path": LINES, "valid_path": ["GGA,b"], "test_path": ["cct,a"]} | others
        return DataConfig(**{key: write(f"{key}.csv", rows) for key, rows in lines.items()})  # type: ignore[arg-type]

    return make


def random_lines(count: int) -> list[str]:
    letters = generator().choice(list("ACGT"), (count, 30))
    return [f"{''.join(row)},{i % 2}" for i, row in enumerate(letters)]


def test_each_file_is_a_part_and_labels_are_numbered_by_the_training_file(three: Any):
    genome = load_genome(three(), 2)
    assert genome.classes == ("a", "b")
    assert [(x.bases.tolist(), x.label) for x in genome.parts["train"]] == [
        ([0, 1, 2, 3], 0), ([1, 1, 2, 3, 0], 1), ([3, 3, 3, 3], 0),
    ]  # fmt: skip
    assert [(x.bases.tolist(), x.label) for part in ("valid", "test") for x in genome.parts[part]] == [
        ([2, 2, 0], 1), ([1, 1, 3], 0),
    ]  # fmt: skip


def test_labels_that_are_numbers_are_in_their_order(write: Any):
    lines = [f"{line.partition(',')[0]},{i % 12}" for i, line in enumerate(random_lines(300))]
    assert load_genome(DataConfig(write("a.csv", lines)), 12).classes == tuple(map(str, range(12)))


def test_a_part_without_a_file_is_held_out_and_no_sequence_is_in_two_parts(write: Any):
    lines = random_lines(600)
    data = DataConfig(write("a.csv", lines + lines[::2]), valid_fraction=0.1)  # half of them are there twice
    parts = {part: {x.bases.tobytes() for x in found} for part, found in load_genome(data, 2).parts.items()}
    assert sum(map(len, parts.values())) == 600
    assert len(set.union(*parts.values())) == 600
    assert 30 < len(parts["valid"]) < 95
    assert 30 < len(parts["test"]) < 95


def test_a_part_with_a_file_is_not_taken_off_the_training_file(write: Any):
    data = DataConfig(write("a.csv", random_lines(300)), test_path=write("b.csv", random_lines(9)), valid_fraction=0.1)
    parts = load_genome(data, 2).parts
    assert len(parts["test"]) == 9
    assert len(parts["train"]) + len(parts["valid"]) == 300


def test_tabs_and_the_name_seq_are_read_too(write: Any):
    comma, tab = write("a.csv", LINES * 40), write("b.tsv", [x.replace(",", "\t") for x in LINES * 40], "seq\tlabel")
    one, other = (load_genome(DataConfig(path, test_path=path, valid_path=path), 2) for path in (comma, tab))
    assert [x.bases.tolist() for x in one.parts["train"]] == [x.bases.tolist() for x in other.parts["train"]]


def test_the_digest_is_of_all_files(three: Any):
    digest = genome_digest(three(), 2)
    assert digest == load_genome(three(), 2).digest
    for key in ("path", "valid_path", "test_path"):
        assert genome_digest(three(**{key: ["AAAAA,a", "CG,b"]}), 2) != digest


def test_the_public_sets_are_read():
    gue = DataConfig(*(shared(f"gue/tf_4_{part}.csv.gz") for part in ("train", "dev", "test")))
    sizes = {part: len(found) for part, found in load_genome(gue, 2).parts.items()}
    assert sizes == {"train": 19000, "valid": 1000, "test": 1000}
    regulatory = load_genome(DataConfig(shared("genomic_benchmarks/human_ensembl_regulatory_train_subset.tsv.gz")), 3)
    assert sum(map(len, regulatory.parts.values())) == 1500


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_path": ["ACG,c"]}, r"test_path\.csv:2: label 'c' is none of a, b, those of .*path\.csv; mend the line"),
        ({"path": [*LINES, "ACG,c"]}, r"^data\.path: .* has 3 labels \(a, b, c\), and task\.genome\.classes is 2; set"),
        ({"path": [*LINES, ",a"]}, r"path\.csv:5: an empty sequence; remove the line"),
        ({"path": [*LINES, "AC!T,a"]}, r"path\.csv:5: '!' is not a base"),
        ({"path": [*LINES, "ACGT"]}, r"path\.csv:5: 1 cells, and the header names 2 columns"),
        ({"valid_path": []}, r"leaves nothing for the valid part"),
    ],
)  # fmt: skip
def test_bad_lines_are_refused(three: Any, changes: dict[str, list[str]], message: str):
    with pytest.raises(UserError, match=message):
        load_genome(three(**changes), 2)


def test_a_missing_column_is_refused(write: Any):
    with pytest.raises(UserError, match=r"a\.csv:1: the columns are dna, label; give .* `sequence` \(or `seq`\) and"):
        load_genome(DataConfig(write("a.csv", LINES, "dna,label")), 2)


def test_a_wrong_path_is_refused_with_its_key(three: Any):
    with pytest.raises(UserError, match=r"^data\.test_path: cannot read nowhere"):
        genome_digest(DataConfig(three().path, test_path="nowhere"), 2)


def test_a_file_is_read_once(three: Any):
    opened: list[str] = []
    watching = True
    sys.addaudithook(lambda event, what: opened.append(str(what[0])) if watching and event == "open" else None)
    data = three()
    opened.clear()
    load_genome(data, 2)
    watching = False
    assert [path for path in opened if path.endswith(".csv")] == [data.path, data.valid_path, data.test_path]
