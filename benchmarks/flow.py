"""List the files that a study passes: from YAML to its runs, to a run's Parquet, and a batch through a model.

    python benchmarks/flow.py studies/depth.yaml            # from YAML to runs
    python benchmarks/flow.py studies/depth.yaml --train    # on to the Parquet of the first run, after two steps
    python benchmarks/flow.py studies/depth.yaml --token    # the first run's model reads one batch

A line for each file of this repository in which a function is called, in the order in which each is first entered,
with the number of times that control comes into it from another file. Imports are done before and do not count. Then
the longest way down: the most files that are on the stack together, each called by the one before it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from titans.models.language_model import LanguageModel
from titans_lab.run.config import RunConfig
from titans_lab.run.run import Run
from titans_lab.store.store import Store
from titans_lab.study.study import load_study
from titans_lab.sweep import record_runs
from titans_lab.training.worker import work

ROOT = Path(__file__).parents[1]
FEW = "train.tokens=2048"  # two steps or so


def entered(action: Callable[[], Any]) -> tuple[Counter[str], list[str]]:
    """Return how often each file is entered from another one during an action, and the longest way down.

    The action has been done once before, for what is imported or cached late.
    """
    found: Counter[str] = Counter()
    longest: list[str] = []

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_code.co_name == "<module>":
            return
        here, caller = frame.f_code.co_filename, frame.f_back and frame.f_back.f_code.co_filename
        if here != caller and is_ours(here):
            found[str(Path(here).relative_to(ROOT))] += 1
            longest[:] = max(longest, way_to(frame), key=len)

    action()
    sys.setprofile(look)
    try:
        action()
    finally:
        sys.setprofile(None)
    return found, longest


def is_ours(file: str) -> bool:
    """Return whether a file belongs to this repository, apart from this one."""
    return file.startswith(str(ROOT)) and "site-packages" not in file and file != __file__


def way_to(frame: FrameType) -> list[str]:
    """Return the files of this repository that are on the stack, outermost first."""
    files = dict.fromkeys(each.f_code.co_filename for each, _ in traceback.walk_stack(frame))
    return [str(Path(file).relative_to(ROOT)) for file in reversed(files) if is_ours(file)]


def runs(study: Path, *overrides: str) -> list[Run]:
    """Return the runs of a study."""
    return load_study(study, overrides).runs(RunConfig.data_digest)


def train(study: Path) -> None:
    """Train the first run of a study for a few steps, in a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        [first, *_] = record_runs(runs(study, FEW), store)
        state = work(store.run(first.run_id).new_attempt(), torch.device("cpu"))
        assert state == "done", state


def token(study: Path) -> Callable[[], Any]:
    """Return a call of the first run's model on one batch."""
    config = runs(study)[0].config.model
    model, tokens = LanguageModel(config), torch.randint(config.vocab_size, (1, 32))
    return lambda: model(tokens)


def main() -> None:
    """Print the files of a study's way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--train", action="store_true", help="on to the Parquet of the first run")
    parser.add_argument("--token", action="store_true", help="the first run's model alone")
    given = parser.parse_args()
    action = token(given.study) if given.token else lambda: (train if given.train else runs)(given.study)
    found, longest = entered(action)
    for file, times in found.items():
        print(f"{times:7}  {file}")
    rooms = Counter(str(Path(file).parent) for file in found)
    print(f"{len(found)} files: " + ", ".join(f"{count} in {room}" for room, count in rooms.items()))
    print(f"longest way down, {len(longest)} files: " + " > ".join(longest))


if __name__ == "__main__":
    main()
