"""What an attempt at a run takes over from the one before.

Where a worker was killed for its memory, nothing of it is left to halve its micro-batch. So whoever commits for it says
`oom`, and the next attempt begins with half of what env.json says that this one used; a coordinator may start it at
once while `can_halve`, and has to stop where that says no: an `oom` at micro-batch 1 is how the run ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from titans_lab.store.folder import Attempt

#: Facts of env.json that decide the last bits of a loss.
OF_NUMBERS = ("device_name", "torch", "threads", "kernel", "micro_batch", "commit")


def micro_batch(attempt: Attempt, asked: int) -> dict[str, int]:
    """What an attempt that begins notes in env.json: its examples at a time, and how often they were halved.

    At most as many as asked for.
    """
    before = _before(attempt)
    env = before.env() if before else {}
    size, halved = min(asked, env.get("micro_batch", asked)), env.get("oom_retries", 0)
    ended = before.status() if before else None
    again = ended is not None and ended.state == "oom" and size > 1
    return {"micro_batch": size // 2 if again else size, "oom_retries": halved + again}


def can_halve(attempt: Attempt) -> bool:
    """Whether an attempt used a micro-batch that is larger than 1."""
    return attempt.env().get("micro_batch", 1) > 1


def goes_on_alike(env: Mapping[str, Any], earlier: Attempt) -> bool:
    """Whether an attempt with this env.json goes on with an earlier one's numbers as that itself would have."""
    other = earlier.env()
    return other.get("deterministic") is True and all(env.get(name) == other.get(name) for name in OF_NUMBERS)


def _before(attempt: Attempt) -> Attempt | None:
    earlier = [path for path in attempt.folder.attempts() if int(path.name) < attempt.number]
    return Attempt(earlier[-1]) if earlier else None
