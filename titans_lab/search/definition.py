"""The definition of a search as plain data, and the name in the store that follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from titans_lab.run.config import RunConfig
from titans_lab.run.identity import run_id
from titans_lab.search.judge import Judge
from titans_lab.study.study import SearchArm


def definition(study: str, arm: SearchArm, judge: Judge, config: RunConfig, data_hash: str) -> dict[str, Any]:
    """Return the facts that decide the points of a search, as plain data."""
    terms = judge.terms
    proxy = {key: setting.value for key, setting in terms.proxy.items()}
    found = {
        "study": study,
        "arm": arm.label,
        "base": run_id(config, 0, data_hash),
        "space": [dimension.plain() for dimension in terms.space],
        "objectives": [[metric.name, metric.column, metric.direction] for metric in judge.metrics],
        "sampler": terms.sampler.plain(),
        "pruner": terms.pruner.plain(),
        "limits": [[limit.name, limit.low, limit.high] for limit in terms.constraints],
        "seeds": terms.seeds,
    }
    return found | ({"proxy": proxy} if proxy else {})


def search_name(what: Mapping[str, Any]) -> str:
    """Return the name of a search in the store: the name of its study and a hash of its definition."""
    canonical = json.dumps(what, sort_keys=True, separators=(",", ":"))
    return f"{what['study']}-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"
