"""One of lm-eval's tasks put to a trained model, its rows from a file or from the hub."""

from __future__ import annotations

import logging
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_lab.errors import UserError, install
from titans_lab.study.metric import Metric
from titans_lab.tasks.task import Score

if TYPE_CHECKING:
    from titans_lab.harness.model import HarnessModel

HERE = Path(__file__).parent / "tasks"
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")
#: lm-eval's names of figures.
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
    """Before lm-eval is imported: no network unless asked for. Its version; UserError where it is not installed."""
    if not online:
        os.environ.update(dict.fromkeys(OFFLINE, "1"))
    try:
        found = version("lm_eval")
    except PackageNotFoundError as error:
        raise UserError(f"lm-eval is not installed: {install('eval')} brings it") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return found


def evaluate(model: HarnessModel, task: str, data: Path | None, split: str, limit: int | None = None) -> list[Score]:
    """The figures of a task, asked without examples (zero-shot).

    Args:
        model: To be asked.
        task: lm-eval's name.
        data: A folder of JSON lines; None: the hub's dataset and lm-eval's own definition of the task.
        split: Of the data, for the record.
        limit: Rows, from the start; None: all.
    """
    from lm_eval import evaluator

    answers = evaluator.evaluate(model, load_task(task, data), limit=limit, bootstrap_iters=0, log_samples=False)
    figures = {name.partition(",")[0]: value for name, value in answers["results"][task].items()}
    count = answers["n-samples"][task]["effective"]
    return [Score(metric, figures[name], count, split=split) for name, metric in METRICS.items() if name in figures]


def load_task(task: str, data: Path | None) -> dict[str, Any]:
    """lm-eval's task with its rows, as its evaluator wants it. UserError where the hub does not give them."""
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
    except Exception as error:  # of many libraries: the network, the hub, the dataset's own files
        raise UserError(
            f"--online: {task}: its data cannot be had ({type(error).__name__}: {error}); --data takes files"
        ) from error
