"""Put lm-eval's tasks to a finished run: `python -m titans_lab.harness --device cpu`.

What comes in and goes out: `titans_lab.evaluation.examined`, with a list of `Asked`.
"""

from __future__ import annotations

import contextlib
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from titans_lab.environment import environment
from titans_lab.evaluation.examined import Examined, serve
from titans_lab.harness.asking import Asked, evaluation_id, source
from titans_lab.harness.evaluate import evaluate, prepare_environment

if TYPE_CHECKING:
    from titans_lab.harness.model import HarnessModel


@final
class Harnessed(Examined):
    """A run that lm-eval's tasks are put to."""

    @cached_property
    def model(self) -> HarnessModel:
        """Under lm-eval's interface."""
        from titans_lab.harness.model import HarnessModel

        trained = self.trained
        return HarnessModel(trained.model, trained.tokenizer, self.device, trained.config.train.precision)

    def reply(self, asked: Any) -> dict[str, Any]:
        """To an `Asked`."""
        with contextlib.redirect_stdout(sys.stderr):  # which is lm-eval's to write on
            given = Asked(**asked)
            return self.answer(given, prepare_environment(online=given.data is None))

    def answer(self, asked: Asked, version: str) -> dict[str, Any]:
        """The rows of an evaluation with a version of lm-eval."""
        split, digest = source(asked)
        name = evaluation_id(self.folder.run_id, asked, digest, version)
        about = {"asked": vars(asked), "data_hash": digest, "env": environment() | {"lm_eval": version}}
        return self.evaluation(name, about, lambda: self._rows(asked, split))

    def _rows(self, asked: Asked, split: str) -> list[dict[str, Any]]:
        data = None if asked.data is None else Path(asked.data)
        scores = evaluate(self.model, asked.task, data, split, asked.limit)
        note = f"first {asked.limit} rows" if asked.limit else None
        return [score.row(asked.task) | {"note": note} for score in scores]


if __name__ == "__main__":
    serve(Harnessed, "titans_lab.harness", "lm-eval's tasks, for a run.")
