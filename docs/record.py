"""Run the commands that a page's console blocks show and write what they print below them.

    python docs/record.py docs/faq.md FOLDER

The commands run in FOLDER, in the order of the page, in a terminal of 110 columns. A YAML block that begins with the
name of a file in a comment is written to that file. An output that the page shortened with a line `...` stays as short.
A test records the FAQ and compares.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(r"^```(console|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_FOLDER = "/home/you/lab"  # stands for the folder in what is printed


def recorded(page: str, folder: Path) -> str:
    """Return the page with what its commands print now."""
    return BLOCK.sub(lambda block: f"```{block[1]}\n{_done(block[1], block[2], folder)}```", page)


def _done(language: str, block: str, folder: Path) -> str:
    """Return a block with the output of each of its commands; write a block that is a file."""
    if language == "yaml":
        if name := re.match(r"# (\w+\.yaml)\n", block):
            (folder / name[1]).write_text(block)
        return block
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:]
    return "".join(
        f"$ {command}\n{_like(before, _output(command, folder))}"
        for command, before in zip(parts[::2], parts[1::2], strict=True)
    )


def _output(command: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "COLUMNS": "110", "NO_COLOR": "1"}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines = done.stdout.replace(str(folder), SHOWN_FOLDER).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _like(before: str, output: str) -> str:
    """Return the output, shortened where the page had shortened it."""
    kept, lines = before.splitlines(), output.splitlines()
    if "..." not in kept:
        return output
    first, last = kept.index("..."), len(kept) - kept.index("...") - 1
    return "".join(f"{line}\n" for line in [*lines[:first], "...", *lines[len(lines) - last :]])


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(recorded(target.read_text(), Path(sys.argv[2]).resolve()))
