"""Evaluate a finished run on lm-eval's tasks: `python -m titans_lab.harness --device cpu`.

Input and output are those of `titans_lab.evaluation.examined`, with a list of `TaskRequest`s.
"""

from __future__ import annotations

import contextlib
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from titans_lab.environment import environment
from titans_lab.evaluation.examined import Examined, Findings, serve
from titans_lab.harness.asking import TaskRequest, evaluation_id, source
from titans_lab.harness.evaluate import evaluate, prepare_environment

if TYPE_CHECKING:
    from titans_lab.harness.model import HarnessModel


@final
class Harnessed(Examined):
    """A run that is evaluated on lm-eval's tasks."""

    @cached_property
    def model(self) -> HarnessModel:
        """Return the run's model with lm-eval's interface."""
        from titans_lab.harness.model import HarnessModel

        trained = self.trained
        return HarnessModel(trained.model, trained.tokenizer, self.device, trained.config.train.precision)

    def reply(self, asked: Any) -> dict[str, Any]:
        """Return the reply to a `TaskRequest`."""
        with contextlib.redirect_stdout(sys.stderr):  # lm-eval prints on standard output
            given = TaskRequest(**asked)
            return self.answer(given, prepare_environment(online=given.data is None))

    def answer(self, asked: TaskRequest, version: str) -> dict[str, Any]:
        """Return the rows of an evaluation with a version of lm-eval."""
        split, digest = source(asked)
        name = evaluation_id(self.folder.run_id, asked, digest, version)
        about = {"asked": vars(asked), "data_hash": digest, "env": environment() | {"lm_eval": version}}
        return self.evaluation(name, about, lambda: Findings(self._rows(asked, split)))

    def _rows(self, asked: TaskRequest, split: str) -> list[dict[str, Any]]:
        data = None if asked.data is None else Path(asked.data)
        scores = evaluate(self.model, asked.task, data, split, asked.limit)
        note = f"first {asked.limit} rows" if asked.limit else None
        return [score.row(asked.task) | {"note": note} for score in scores]


if __name__ == "__main__":
    serve(Harnessed, "titans_lab.harness", "lm-eval's tasks, for a run.")
