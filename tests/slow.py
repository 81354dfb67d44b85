"""Write `slow.txt`, the tests that take more than 0.06 s, from a report of all tests.

.venv/bin/pytest -n 2 --junitxml=junit.xml && python tests/slow.py junit.xml
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

LIMIT_SECONDS = 0.06


def main(report: str) -> None:
    """Write the names of the test functions of which some case is slow, in order."""
    names = set()
    for case in ElementTree.parse(report).iter("testcase"):
        if float(case.get("time", "0")) > LIMIT_SECONDS:
            module, name = str(case.get("classname")).replace(".", "/"), str(case.get("name"))
            names.add(f"{module}.py::{name.partition('[')[0]}")
    (Path(__file__).parent / "slow.txt").write_text("".join(f"{name}\n" for name in sorted(names)))


if __name__ == "__main__":
    main(sys.argv[1])
