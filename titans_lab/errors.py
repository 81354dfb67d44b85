"""What is the user's to mend."""

from __future__ import annotations


class UserError(ValueError):
    """One message that names the file, line or key and the remedy; shown without a traceback, exit code 2."""


def install(extra: str = "") -> str:
    """The command that installs this package, with one of its extras, in words: it is on no index."""
    return f"pip install -e '.[{extra}]' in the clone of titans-lab" if extra else "pip install -e . in its clone"
