"""The command line: it parses arguments, calls the library and prints. Each file has a family of verbs."""

from __future__ import annotations

import errno
import sys

from titans_lab.errors import UserError


def main() -> None:
    """Run the command. An error that the user can fix is one message and exit code 2."""
    from titans_lab.cli.app import app, hoisted
    from titans_lab.cli.streams import make_lossy, problem

    make_lossy()
    try:
        app(hoisted(sys.argv[1:]), prog_name="titans-lab")
    except UserError as error:
        raise SystemExit(_say(str(error))) from None
    except PermissionError as error:  # a store of another user, with records that only its owner may read
        words = f"cannot be used ({error.strerror}); ask its owner, or name another store with --store"
        raise SystemExit(_say(f"{error.filename}: {words}")) from None
    finally:
        lost = problem()
        if lost and lost.errno != errno.EPIPE:  # a full disk; a reader that has read enough is no fault
            raise SystemExit(_say(f"standard output: cannot be written ({lost.strerror})"))


def _say(message: str) -> int:
    """Print a message, which may quote a file, with control characters escaped. Return exit code 2."""
    from titans_lab.tables import harmless_lines

    print(f"titans-lab: {harmless_lines(message)}", file=sys.stderr)
    return 2
