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
        print(f"titans-lab: {error}", file=sys.stderr)
        sys.exit(2)
