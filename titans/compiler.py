"""The C compiler of this machine, with which `titans` builds its kernel for processors."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from functools import cache


@cache
def c_compiler() -> tuple[str, ...] | None:
    """Return the command of a C compiler: `$CC` if it is one, cc, gcc, clang or the package ziglang, or else None."""
    try:
        named = shlex.split(os.environ.get("CC", ""))
    except ValueError:  # a quote without its end
        named = []
    for command in (named, ["cc"], ["gcc"], ["clang"]):
        if command and (path := shutil.which(command[0])):
            return (path, *command[1:])
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    return None
