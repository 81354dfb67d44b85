from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from workbench import Workbench

from titans_lab.cli import main

Cli = Callable[..., "Ended"]


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


class Swept(NamedTuple):
    """A study that was swept: two runs on a vocabulary of 256, of which one diverges, and two that fit in no memory."""

    bench: Workbench
    overrides: tuple[str, str]
    code: int
    out: str
    words: str  # on stderr


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "swept"
    root.mkdir(exist_ok=True)
    overrides = ("grid.model.vocab_size=[35184372088832, 256]", "grid.train.lr=[1e30, 1e-2]")
    ended = root / "ended.json"
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes of pytest-xdist, one sweeps
        if not ended.exists():
            done = Workbench.at(root).call("sweep", *overrides)
            ended.write_text(json.dumps([done.returncode, done.stdout, done.stderr]))
    return Swept(Workbench(root), overrides, *json.loads(ended.read_text()))


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench.at(tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """cli("plan", "depth.yaml"): the command in this process."""

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["titans-lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Ended(end.value.code, *capsys.readouterr())  # type: ignore[arg-type]

    return call
