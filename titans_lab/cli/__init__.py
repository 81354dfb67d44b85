"""The command line: parses, calls the library, prints. A family of verbs a file."""

from __future__ import annotations

import sys

from titans_lab.errors import UserError


def main() -> None:
    """Run the command; what is the user's to mend is one message and exit code 2."""
    from titans_lab.cli.app import app

    try:
        app(prog_name="titans-lab")
    except UserError as error:
        print(f"titans-lab: {_harmless(str(error))}", file=sys.stderr)
        sys.exit(2)


def _harmless(message: str) -> str:
    """With what would steer a terminal spelt out: a message quotes what it found in files."""
    lines = message.split("\n")
    return "\n".join("".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in lines)
