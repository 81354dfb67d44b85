"""A plan as plain data, for other programs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from titans_lab.planning.plan import Plan
from titans_lab.study.study import Study

#: Figures of a whole plan.
FIGURES = ("devices", "at_once", "seconds", "worker_seconds", "detectable", "undecided", "mixed", "edited", "orphans")


def document(study: Study, plan: Plan, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the plan of a study as plain data.

    Args:
        study: The study.
        plan: The plan of the study.
        overrides: The overrides that the study was loaded with, for the command that starts its search.
    """
    texts = {"study": study.name, "question": study.question, "expect": study.expect}
    about = {**texts, "effect": study.effect, "warnings": study.warnings}
    figures = {name: _plain(getattr(plan, name)) for name in FIGURES}
    rows = [{name: _plain(value) for name, value in vars(run).items()} for run in plan.runs]
    return {**about, **figures, "search": search_document(study, overrides), "runs": rows}


def search_document(study: Study, overrides: Sequence[str]) -> dict[str, Any] | None:
    """Return the description of the search of `titans-lab tune`, or None where the study has no search."""
    if study.search is None:
        return None
    terms = study.search.terms
    return {
        "trials": terms.trials,
        "arms": len(study.search.arms),
        "seeds": terms.seeds,
        "sampler": terms.sampler.name,
        "pruner": terms.pruner.name,
        "parameters": [dimension.key for dimension in terms.space],
        "proxy": {key: setting.value for key, setting in terms.proxy.items()},
        "finalists": _plain(terms.finalists),
        "command": shlex.join(["titans-lab", "tune", str(study.path), *overrides]),
    }


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) else value  # type: ignore[arg-type]
