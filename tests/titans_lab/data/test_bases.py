from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from shared_data import shared

from titans_lab.data.bases import FASTA, encoded, fasta_bases
from titans_lab.data.files import read_bytes
from titans_lab.errors import UserError


def fasta(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "some.fa").write_bytes(content)
    return str(tmp_path / "some.fa")


def read_fasta(path: str) -> bytes:
    return fasta_bases(read_bytes(path, "data.path", FASTA), path)


def test_bases_are_numbered_whatever_their_case_and_the_ambiguous_are_unknown():
    assert encoded(b"ACGTNacgtnRy", "here").tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 4, 4]


def test_a_letter_that_is_no_base_is_refused_at_its_place():
    with pytest.raises(UserError, match=r"^x\.csv:7: 'E' is not a base; write A, C, G, T, or N"):
        encoded(b"ACE", "x.csv:7")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_fasta_file_is_its_bases_without_headers_and_line_ends(tmp_path: Path, pack):
    content = b">one some words\nACGT\nacgr\n\n>none\n>two\r\nTT\r\n"
    assert read_fasta(fasta(tmp_path, pack(content))) == b"ACGTACGNNTT"


def test_the_genome_of_e_coli_is_whole():
    bases = read_fasta(shared("ecoli/ecoli_k12_mg1655.fa.gz"))
    assert (len(bases), bases[:20]) == (4_639_675, b"AGCTTTTCATTCTGACTGCA")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ACGT\n", r"some\.fa:1: a sequence without a header line such as '>name'; give a FASTA file"),
        (b">one\nACGT\nAXGT\n", r"some\.fa:3: 'X' is not a base; write A, C, G, T"),
        (b">one\n>two\n", r"some\.fa has headers and no bases; give a FASTA"),
        (b"", r"some\.fa is empty; give a FASTA"),
    ],
)
def test_a_file_that_is_no_fasta_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(UserError, match=message):
        read_fasta(fasta(tmp_path, content))
