"""Execute one attempt in a worker. `titans_lab.training.serve` is the process.

However an attempt ends, short of a kill, its commit says how: done, diverged, oom, failed, or the requested one of
`STOPPED`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NoReturn, TypeGuard

import torch

from titans.compiler import c_compiler
from titans_lab.data.corpus import Corpus
from titans_lab.data.tokenizer import BYTES
from titans_lab.environment import environment, processor
from titans_lab.errors import UserError
from titans_lab.run.config import DataConfig, RunConfig
from titans_lab.run.derived import kernel
from titans_lab.run.run import config_of
from titans_lab.stats.ngram import witten_bell_losses
from titans_lab.store.folder import Attempt
from titans_lab.store.recorder import Recorder, commit
from titans_lab.store.status import FINISHED, STOPPED
from titans_lab.store.store import Store
from titans_lab.store.succession import micro_batch
from titans_lab.tasks.task import Task, build_task
from titans_lab.tasks.text.task import TextTask
from titans_lab.training.ending import Cancelled, Ending, die
from titans_lab.training.followers import RankFailed, ranks_of
from titans_lab.training.microbatch import is_out_of_memory
from titans_lab.training.train import Diverged, Stopped, Trainer
from titans_lab.training.weights import beginning_of, save_state, save_weights

MOST_COUNTED = 1_000_000_000  # bytes; n-gram counts of a larger text would take longer than most runs
CANCELLED = "cancelled before its end"

_host = cache(environment)


class Superseded(BaseException):
    """This process stood still for so long that another worker has taken over the run."""


def work(attempt: Attempt, device: torch.device, ending: Ending | None = None, nodes: Sequence[str] = ()) -> str:
    """Train the run of an attempt, commit how it ended, and return that state.

    Args:
        attempt: The attempt, in a store.
        device: The device to train on.
        ending: The request to stop, which leaves the run to a later attempt that resumes from its checkpoint.
        nodes: See `ranks_of`.
    """
    ending = ending or Ending()
    record = attempt.folder.record()
    config = config_of(record)
    taken_over = micro_batch(attempt, config.micro_batch)
    config = replace(config, speed=replace(config.speed, micro_batch=taken_over["micro_batch"]))
    execution = {"kernel": kernel(config, device.type), "devices": config.speed.devices, "shard": config.speed.shard}
    execution |= {"nodes": 1 + len(set(nodes))}
    recorder = Recorder(attempt, _host() | _device_facts(device) | execution | taken_over)
    task, store = task_of(config, record), Store(attempt.folder.store)
    beginning = beginning_of(config, record, store)
    if beginning:
        recorder.note({"init_weights": beginning.digest})
    with ranks_of(config, record, device, partial(_end_lost, attempt), store.root, nodes) as ranks:
        trainer = Trainer(config, record["seed"], task, device, recorder, ranks, beginning)
        trainer.should_stop = lambda: _asked(attempt, ending)
        try:
            state, summary, error = "done", trainer.run(), None
        except Diverged as end:
            state, summary, error = "diverged", trainer.summary(end.step) | {"diverged_step": end.step}, str(end)
        except Stopped as end:
            state, summary, error = end.state, trainer.summary(end.step), str(end)
        kept = trainer.replica.state() if state == "done" and config.log.keep_state else None
    with ending.sealed():
        if state == "done" and config.log.weights:
            save_weights(attempt, trainer.model)
        if kept:
            save_state(attempt, trainer.replica.before + kept["step"], kept["optimizer"])
        commit(attempt, state, summary, error)
    if state not in STOPPED and _countable(task):
        save_ngram_baseline(store, task.corpus, config.data, task.settings.ORDERS)
    return state


def task_of(config: RunConfig, record: dict[str, Any]) -> Task:
    """Return the task of a recorded run. Raise UserError where its data are not what they were."""
    task = build_task(config, record["seed"])
    if task.digest != record["data_hash"]:
        raise UserError(f"data.path: {task.source} is not what it was when this run was planned; sweep the study again")
    return task


def _countable(task: Task) -> TypeGuard[TextTask]:
    return isinstance(task, TextTask) and task.corpus.tokenizer is BYTES and len(task.corpus.train) <= MOST_COUNTED


def save_ngram_baseline(store: Store, corpus: Corpus, data: DataConfig, orders: Sequence[int]) -> None:
    """Record the losses of n-gram models on the test part unless the store has them.

    The report compares the losses of models with them.
    """
    split = {"data_hash": corpus.digest, "valid_fraction": data.valid_fraction, "valid_bytes": data.valid_bytes}
    key = f"{corpus.digest[:16]}-{data.valid_fraction}-{data.valid_bytes or 'all'}-test"
    if store.has_ngram_baseline(key):
        return
    bits = {str(order): bits for order, bits in witten_bell_losses(corpus.train, corpus.test, orders).items()}
    store.save_ngram_baseline(key, {**split, "split": "test", "data_source": corpus.source, "bits_per_byte": bits})


def _asked(attempt: Attempt, ending: Ending) -> tuple[str, str] | None:
    """Return the requested state and the reason, or None. Raise Superseded where another worker has taken over."""
    if attempt.superseded():
        raise Superseded
    return attempt.asked_to_stop() or (("cancelled", CANCELLED) if ending.asked else None)


def attend(attempt: Attempt, device: torch.device, ending: Ending, nodes: Sequence[str] = ()) -> int:
    """Execute an attempt, make sure that there is a commit, and return the exit code."""
    try:
        state = work(attempt, device, ending, nodes)
    except Cancelled:
        state, why = attempt.asked_to_stop() or ("cancelled", CANCELLED)
        commit(attempt, state, {}, why)
    except Superseded as end:
        print(end.__doc__)
    except RankFailed as failure:
        with ending.sealed():
            _commit_failure(attempt, failure)
    except Exception as error:
        with ending.sealed():
            traceback.print_exc()  # to the log, because the commit is already written
            commit(attempt, "oom" if is_out_of_memory(error) else "failed", {}, traceback.format_exc())
    else:
        return int(ending.asked and state not in FINISHED)
    return 1


def _commit_failure(attempt: Attempt, failure: RankFailed) -> None:
    print(failure, file=sys.stderr)
    commit(attempt, "oom" if failure.out_of_memory else "failed", {}, str(failure))


def _end_lost(attempt: Attempt, failure: RankFailed) -> NoReturn:
    """Commit for a run that waits for a rank that is gone, and end this process."""
    _commit_failure(attempt, failure)
    die(1)


def _device_facts(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if device.type == "cuda" else processor()
    return {
        "device": device.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "c_functions": device.type == "cpu" and c_compiler() is not None,  # of titans.ops.pointwise
        "deterministic": device.type == "cpu",  # a GPU's atomic operations sum in any order
    }
