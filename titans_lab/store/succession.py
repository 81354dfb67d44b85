"""Decide what an attempt takes over from the one before: its micro-batch, and whether it may resume its numbers.

A worker that the system kills for its memory cannot halve its own micro-batch. The coordinator therefore commits `oom`
for it, and the next attempt begins with half of the micro-batch in env.json. The coordinator may start that attempt
immediately while `can_halve` is true. An `oom` at micro-batch 1 is the end of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from titans_lab.store.folder import Attempt

#: Facts in env.json that decide the last bits of a loss.
OF_NUMBERS = (
    *("device_name", "devices", "nodes", "shard", "torch", "threads", "kernel", "c_functions", "micro_batch", "commit"),
    "init_weights",
)
#: What they are in an env.json that was written before they were recorded.
_UNRECORDED = {"devices": 1, "nodes": 1, "shard": False}


def micro_batch(attempt: Attempt, asked: int) -> dict[str, int]:
    """Return the micro-batch of a new attempt and how often it was halved, for env.json.

    The micro-batch is `asked`, or less if memory ran out in the attempt before.
    """
    earlier = [path for path in attempt.folder.attempts() if int(path.name) < attempt.number]
    before = Attempt(earlier[-1]) if earlier else None
    env = before.env() if before else {}
    ended = before.status() if before else None
    halved, short = env.get("oom_retries", 0), ended is not None and ended.state == "oom"
    size = min(asked, env.get("micro_batch", asked)) if halved or short else asked
    again = short and size > 1
    return {"micro_batch": size // 2 if again else size, "oom_retries": halved + again}


def can_halve(attempt: Attempt) -> bool:
    """Return whether an attempt used a micro-batch above 1."""
    return attempt.env().get("micro_batch", 1) > 1


def facts_of_numbers(env: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of an env.json that decide the last bits of a loss, by name; null where one is not recorded."""
    return {name: env.get(name, _UNRECORDED.get(name)) for name in OF_NUMBERS}


def goes_on_alike(env: Mapping[str, Any], earlier: Attempt) -> bool:
    """Return whether an attempt with this env.json continues an earlier one with the same bits."""
    other = earlier.env()
    return other.get("deterministic") is True and facts_of_numbers(env) == facts_of_numbers(other)
