"""lm-eval's tasks put to a trained model, from files or from the hub."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_lab.errors import UserError
from titans_lab.harness.rows import find
from titans_lab.harness.table import ALIASES, TASKS
from titans_lab.study.tasks import Measure
from titans_lab.tasks.task import Score

if TYPE_CHECKING:
    from titans_lab.harness.model import HarnessModel

HERE = Path(__file__).parent / "tasks"
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")
#: lm-eval's names of figures.
MEASURES = {
    measure.name: measure
    for measure in (
        Measure("acc", "share of answers", "higher"),
        Measure("acc_norm", "share of answers, by likelihood a byte", "higher"),
        Measure("perplexity", "choices a last word"),
        Measure("word_perplexity", "choices a word"),
        Measure("byte_perplexity", "choices a byte"),
        Measure("bits_per_byte", "bits per byte"),
    )
}


def task_names(given: Sequence[str]) -> list[str]:
    """lm-eval's names for the tasks given. UserError for one that is not among those of the paper."""
    names = [ALIASES.get(name, name) for name in given]
    for name in names:
        if name not in TASKS:
            raise UserError(f"--task: {name!r} is not one of {', '.join(TASKS)}")
    return list(dict.fromkeys(names))


def prepare_environment(online: bool) -> None:
    """Before lm-eval is imported: no network unless asked for. UserError where it is not installed."""
    if not online:
        os.environ.update(dict.fromkeys(OFFLINE, "1"))
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        import lm_eval  # noqa: F401
    except ImportError as error:
        raise UserError("lm-eval is not installed: pip install 'titans-lab[eval]' brings it") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)


def evaluate(
    model: HarnessModel, names: Sequence[str], data: Path | None, limit: int | None = None
) -> dict[str, list[Score]]:
    """The figures of each task, which are asked without examples (zero-shot).

    Args:
        model: To be asked.
        names: Of tasks, as `task_names` gives them.
        data: A folder of JSON lines; None: the hub's datasets and lm-eval's own files of tasks.
        limit: Rows of each task, from its start; None: all.
    """
    from lm_eval import evaluator

    splits = dict.fromkeys(names, "hub") if data is None else {name: find(name, data)[1] for name in names}
    loaded = load_tasks(names, data)
    answers = evaluator.evaluate(model, loaded, limit=limit, bootstrap_iters=0, log_samples=False)
    counts = {name: found["effective"] for name, found in answers["n-samples"].items()}
    return {name: _scores(answers["results"][name], counts[name], splits[name]) for name in names}


def load_tasks(names: Sequence[str], data: Path | None) -> dict[str, Any]:
    """lm-eval's tasks, with their rows."""
    from lm_eval.tasks import TaskManager

    if data is None:
        manager = TaskManager()
    else:
        manager = TaskManager(include_path=str(HERE), include_defaults=False, metadata={"folder": str(data)})
    loaded = manager.load(list(names))
    for task in loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=0)
    return loaded


def _scores(figures: dict[str, Any], count: int, split: str) -> list[Score]:
    found = {name.partition(",")[0]: value for name, value in figures.items()}
    return [Score(measure, found[name], count, split=split) for name, measure in MEASURES.items() if name in found]
