"""Find finished runs that other source code than this has trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from titans_lab.quantities import plural
from titans_lab.source_digest import files_digest, source_digest


def edited_since(finished: Iterable[Mapping[str, Any]]) -> str:
    """Return how many finished runs, of which the env is given, are of other code, and what to do; "" where none is.

    Equal ids mean equal versions, so these runs would be trained no more although the code is another. Runs that were
    recorded without a digest are passed over.
    """
    envs = list(finished)
    suspects = [env for env in envs if env.get("source_digest") and env.get("files_digest") != files_digest()]
    edited = sum(env["source_digest"] != source_digest() for env in suspects)
    if not edited:
        return ""
    return (
        f"other source code than this trained {edited} of {plural(len(envs), 'finished run')}, and no version says so; "
        "if the edit changes numbers, raise a version in titans.VERSIONS or titans_lab.run.identity.VERSIONS or the "
        "task's, or move these runs away with `titans-lab rm`; else go on"
    )
