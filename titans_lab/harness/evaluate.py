"""Evaluate a trained model on one of lm-eval's tasks, with rows from a file or from the hub."""

from __future__ import annotations

import logging
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_lab.errors import UserError, install
from titans_lab.run.metric import Metric
from titans_lab.tasks.task import Score

if TYPE_CHECKING:
    from titans_lab.harness.model import HarnessModel

HERE = Path(__file__).parent / "tasks"
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")
#: The metrics by lm-eval's names.
METRICS = {
    metric.name: metric
    for metric in (
        Metric("acc", "share of answers", "maximize"),
        Metric("acc_norm", "share of answers, by likelihood a byte", "maximize"),
        Metric("perplexity", "choices a last word"),
        Metric("word_perplexity", "choices a word"),
        Metric("byte_perplexity", "choices a byte"),
        Metric("bits_per_byte", "bits per byte"),
    )
}


def prepare_environment(online: bool) -> str:
    """Forbid the network unless it is wanted, and return lm-eval's version. Raise UserError without lm-eval.

    Call it before lm-eval is imported.
    """
    if not online:
        os.environ.update(dict.fromkeys(OFFLINE, "1"))
    try:
        found = version("lm_eval")
    except PackageNotFoundError as error:
        raise UserError(f"lm-eval is not installed: {install('eval')} brings it") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return found


def evaluate(model: HarnessModel, task: str, data: Path | None, split: str, limit: int | None = None) -> list[Score]:
    """Return the scores of a model on a task, zero-shot.

    Args:
        model: The model.
        task: lm-eval's name of the task.
        data: A folder of JSON lines. None: the hub's dataset with lm-eval's own definition of the task.
        split: The split of the data, for the record.
        limit: The number of rows to use, from the start. None: all rows.
    """
    from lm_eval import evaluator

    answers = evaluator.evaluate(model, load_task(task, data), limit=limit, bootstrap_iters=0, log_samples=False)
    figures = {name.partition(",")[0]: value for name, value in answers["results"][task].items()}
    count = answers["n-samples"][task]["effective"]
    return [Score(metric, figures[name], count, split=split) for name, metric in METRICS.items() if name in figures]


def load_task(task: str, data: Path | None) -> dict[str, Any]:
    """Return a task with its rows for lm-eval's evaluator. Raise UserError where the hub does not deliver the rows."""
    from lm_eval.tasks import TaskManager

    if data is None:
        loaded = _from_hub(TaskManager(), task)
    else:
        manager = TaskManager(include_path=str(HERE), include_defaults=False, metadata={"folder": str(data)})
        loaded = manager.load(task)
    loaded["tasks"][task].set_config(key="num_fewshot", value=0)
    return loaded


def _from_hub(manager: Any, task: str) -> dict[str, Any]:
    try:
        return manager.load(task)
    except Exception as error:  # many libraries raise here: the network's, the hub's, the dataset's
        raise UserError(
            f"--online: {task}: its data cannot be fetched ({type(error).__name__}: {error}); --data reads files"
        ) from error
