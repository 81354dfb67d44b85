"""Run a rank that is not the first: `python -m titans_lab.training.follow`, which `Followers` starts.

The process reads one line of JSON from standard input, which is open as long as the first rank lives: its rank, the
number of ranks, the place where they meet, the kind and the number of its device, and the run's record. It does what
the first rank tells it and writes nothing to the store. If it fails, it writes a line of JSON with the traceback to
standard output.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from titans_lab.plugins.loading import load_inherited
from titans_lab.run.run import config_of
from titans_lab.store.store import Store
from titans_lab.training.ending import ASKING, die
from titans_lab.training.followers import own_device
from titans_lab.training.microbatch import is_out_of_memory
from titans_lab.training.ranks import join, leave, met
from titans_lab.training.replica import Replica
from titans_lab.training.weights import beginning_of
from titans_lab.training.worker import task_of


def follow(about: dict[str, Any]) -> None:
    """Train a part of each batch as the first rank tells.

    Args:
        about: What the process has read: see the module.
    """
    record, rank = about["record"], about["rank"]
    config, device = config_of(record), own_device(about["device"], about["number"])
    ranks = join(met(about["place"], about["size"]), rank, about["size"], config.speed.shard, device)
    beginning = beginning_of(config, record, Store(Path(about["store"]))) if about["store"] else None
    replica = Replica(config, record["seed"], task_of(config, record), device, ranks, beginning)
    if path := ranks.agree():
        replica.load_state(torch.load(path, map_location="cpu", weights_only=True)["state"])
    replica.join()
    replica.follow()
    leave()


def main() -> None:
    """Follow the request on standard input, and end the process."""
    for number in ASKING:
        signal.signal(number, signal.SIG_IGN)  # the first rank decides when the run stops
    about, answers = json.loads(sys.stdin.readline()), os.dup(1)
    os.dup2(2, 1)  # what libraries print belongs to the log
    threading.Thread(target=_end_with_the_first_rank, daemon=True).start()
    torch.set_flush_denormal(True)  # as workers do
    try:
        load_inherited()
        follow(about)
    except Exception as error:
        found = {
            "error": traceback.format_exc(),
            "when": time.monotonic(),
            "out_of_memory": is_out_of_memory(error),
        }
        os.write(answers, json.dumps(found).encode())
        die(1)
    die(0)


def _end_with_the_first_rank() -> None:
    """End this process when standard input closes, because the first rank has ended."""
    while os.read(0, 65536):
        pass
    die(1)


if __name__ == "__main__":
    main()
