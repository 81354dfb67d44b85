"""What is the user's to mend."""

from __future__ import annotations


class UserError(ValueError):
    """One message that names the file, line or key and the remedy; shown without a traceback, exit code 2."""
