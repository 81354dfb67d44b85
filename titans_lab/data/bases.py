"""Convert the bases of DNA between letters and numbers, and read them from FASTA files."""

from __future__ import annotations

import numpy as np

from titans_lab.data.files import COMPRESSED
from titans_lab.errors import UserError

BASES = b"ACGTN"  # N: unknown
AMBIGUOUS = b"RYSWKMBDHV"  # IUPAC's letters for one of several bases, which are read as N
NO_BASE = 255
FASTA = f"a FASTA file ({COMPRESSED})"


def _codes() -> np.ndarray:
    """Return the index in `BASES` of each byte `[256]`, `NO_BASE` for a byte that is not a base."""
    codes = np.full(256, NO_BASE, np.uint8)
    for letters in (BASES, BASES.lower()):
        codes[list(letters)] = range(len(BASES))
    codes[list(AMBIGUOUS + AMBIGUOUS.lower())] = BASES.index(b"N")
    return codes


CODES = _codes()
_LETTERS = np.frombuffer(BASES, np.uint8)


def fasta_bases(content: bytes, path: str) -> bytes:
    """Return the bases of a FASTA file as letters of `BASES`, in order, with an N between two records.

    Raises:
        UserError: The file is no FASTA file. The message names the line.
    """
    records: list[list[bytes]] = []
    for line, text in enumerate(content.splitlines(), 1):
        if text.startswith(b">"):
            records.append([])
        elif text.strip():
            if not records:
                raise UserError(f"{path}:{line}: a sequence without a header line such as '>name'; give {FASTA}")
            records[-1].append(_LETTERS[encoded(text.strip(), f"{path}:{line}")].tobytes())
    bases = b"N".join(b"".join(record) for record in records if record)
    if not bases:
        raise UserError(f"data.path: {path} has headers and no bases; give {FASTA}")
    return bases


def encoded(text: bytes, place: str) -> np.ndarray:
    """Return the indices in `BASES` of a text's letters of either case, `[letters]`.

    Raises:
        UserError: A letter is not a base. The message begins with `place`.
    """
    codes = CODES[np.frombuffer(text, np.uint8)]
    if (wrong := codes == NO_BASE).any():
        letter = text.decode(errors="replace")[int(wrong.argmax())]
        raise UserError(f"{place}: {letter!r} is not a base; write A, C, G, T, or N where it is not known")
    return codes
