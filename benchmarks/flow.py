"""The files that a study passes on its way from YAML to its runs.

    python benchmarks/flow.py studies/depth.yaml

A line for each file of this repository in which a function is called, in the order in which each is first entered,
with the number of times that control comes into it from another file. Imports are done before and do not count.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from titans_lab.study.study import load_study

ROOT = Path(__file__).parents[1]


def entered(study: Path) -> Counter[str]:
    """Return how often each file is entered from another one while a study is loaded and its runs are listed."""
    found: Counter[str] = Counter()

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_code.co_name == "<module>":
            return
        here, caller = frame.f_code.co_filename, frame.f_back and frame.f_back.f_code.co_filename
        if here != caller and here.startswith(str(ROOT)) and "site-packages" not in here and here != __file__:
            found[str(Path(here).relative_to(ROOT))] += 1

    load_study(study).runs(lambda config: "0" * 64)  # what is imported or cached late
    sys.setprofile(look)
    try:
        load_study(study).runs(lambda config: "0" * 64)
    finally:
        sys.setprofile(None)
    return found


def main() -> None:
    """Print the files of a study's way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    found = entered(parser.parse_args().study)
    for file, times in found.items():
        print(f"{times:7}  {file}")
    rooms = Counter(str(Path(file).parent) for file in found)
    print(f"{len(found)} files: " + ", ".join(f"{count} in {room}" for room, count in rooms.items()))


if __name__ == "__main__":
    main()
